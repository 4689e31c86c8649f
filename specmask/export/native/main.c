/* Enhance a WAV file: ./specmask noisy.wav enhanced.wav (mono, 16 bits or float32, the model's rate) */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model.h"
#include "specmask.h"

typedef struct {
  FILE *file;
  int is_float;
  int64_t samples; /* that the header promises; INT64_MAX: up to the end of the file */
  int64_t read;
} wav;

static void stop(const char *path, const char *problem) {
  fprintf(stderr, "error: %s: %s\n", path, problem);
  exit(2);
}

static int is_same_file(const char *a, const char *b) {
  struct stat x, y;
  if (!strcmp(a, b)) return 1;
  if (stat(a, &x) || stat(b, &y)) return 0;
  return x.st_ino && x.st_ino == y.st_ino && x.st_dev == y.st_dev; /* no inodes on Windows */
}

static uint32_t number(const unsigned char *bytes, int count) {
  uint32_t value = 0;
  while (count--) value = value << 8 | bytes[count];
  return value;
}

static wav open_wav(const char *path, int rate) {
  unsigned char head[12], chunk[40];
  wav in = {fopen(path, "rb"), -1, 0, 0};
  if (!in.file) stop(path, "cannot be opened");
  if (fread(head, 1, 12, in.file) < 12 || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4))
    stop(path, "not a WAV file");
  for (;;) {
    if (fread(head, 1, 8, in.file) < 8) stop(path, "no samples");
    const uint32_t size = number(head + 4, 4);
    if (!memcmp(head, "data", 4)) {
      if (in.is_float < 0) stop(path, "no format before the samples");
      in.samples = size / (in.is_float ? 4 : 2);
      if (!size || size == UINT32_MAX) in.samples = INT64_MAX; /* of programs that write to a pipe */
      return in;
    }
    uint32_t read = 0;
    if (!memcmp(head, "fmt ", 4)) {
      read = size < sizeof chunk ? size : (uint32_t)sizeof chunk;
      if (fread(chunk, 1, read, in.file) < read || read < 16) stop(path, "damaged");
      uint32_t format = number(chunk, 2);
      if (format == 0xfffe && read >= 26) format = number(chunk + 24, 2); /* extensible */
      const uint32_t bits = number(chunk + 14, 2);
      if (number(chunk + 2, 2) != 1) stop(path, "expected one channel");
      if (number(chunk + 4, 4) != (uint32_t)rate) {
        fprintf(stderr, "error: %s: expected a sampling rate of %d Hz\n", path, rate);
        exit(2);
      }
      if (format == 1 && bits == 16)
        in.is_float = 0;
      else if (format == 3 && bits == 32)
        in.is_float = 1;
      else
        stop(path, "expected samples of 16 bits, or of 32 bits float");
    }
    if (fseek(in.file, (long)(size - read + size % 2), SEEK_CUR)) stop(path, "damaged");
  }
}

static void put(unsigned char *to, uint32_t value, int count) {
  for (; count--; value >>= 8) *to++ = (unsigned char)value;
}

/* Write the header of a file of so many samples; UINT32_MAX bytes: up to the end of the file. */
static void write_head(FILE *out, int rate, int is_float, int64_t samples, const char *path) {
  const uint32_t width = is_float ? 4 : 2;
  const uint32_t most = UINT32_MAX - 36;
  const uint32_t size = samples > most / width ? UINT32_MAX : (uint32_t)samples * width;
  unsigned char head[44] = "RIFF....WAVEfmt ";
  put(head + 4, size > most ? UINT32_MAX : size + 36, 4);
  put(head + 16, 16, 4);
  put(head + 20, is_float ? 3 : 1, 2);
  put(head + 22, 1, 2);
  put(head + 24, (uint32_t)rate, 4);
  put(head + 28, (uint32_t)rate * width, 4);
  put(head + 32, width, 2);
  put(head + 34, 8 * width, 2);
  memcpy(head + 36, "data", 4);
  put(head + 40, size, 4);
  if (fwrite(head, 1, 44, out) < 44) stop(path, "cannot be written");
}

/* Read up to count samples, and return how many there were; behind the end there are zeros. */
static int read_samples(wav *in, float *x, int count) {
  const size_t width = in->is_float ? 4 : 2;
  int found = 0;
  for (int i = 0; i < count; i++) {
    unsigned char bytes[4];
    x[i] = 0;
    if (in->read == in->samples || fread(bytes, 1, width, in->file) < width) continue;
    in->read++;
    found++;
    const uint32_t word = number(bytes, (int)width);
    if (in->is_float)
      memcpy(x + i, &word, 4);
    else
      x[i] = (float)(word < 32768 ? (int)word : (int)word - 65536) / 32768;
  }
  return found;
}

static void write_sample(FILE *out, float x, int is_float, const char *path) {
  unsigned char bytes[4];
  uint32_t word;
  if (is_float) {
    memcpy(&word, &x, 4);
  } else {
    const float scaled = x * 32768, whole = scaled < -32768 ? -32768 : scaled > 32767 ? 32767 : scaled;
    word = (uint32_t)(int32_t)(whole + (whole < 0 ? -0.5f : 0.5f));
  }
  put(bytes, word, 4);
  if (!fwrite(bytes, is_float ? 4 : 2, 1, out)) stop(path, "cannot be written");
}

int main(int count, char **arguments) {
  if (count != 3) {
    fprintf(stderr, "usage: %s noisy.wav enhanced.wav\n", arguments[0]);
    return 2;
  }
  specmask *s = specmask_create(specmask_program, specmask_program_bytes,
                                malloc(specmask_bytes(specmask_program, specmask_program_bytes)));
  if (!s) stop("model.c", "not a model of this version, or no memory");
  const int hop = specmask_hop_length(s), rate = specmask_sample_rate(s);
  wav in = open_wav(arguments[1], rate);
  if (is_same_file(arguments[1], arguments[2])) stop(arguments[2], "is the recording; name another");
  FILE *out = fopen(arguments[2], "wb");
  if (!out) stop(arguments[2], "cannot be written");
  write_head(out, rate, in.is_float, INT64_MAX, arguments[2]); /* until the length is known */
  float *x = malloc((size_t)hop * sizeof *x);
  if (!x) stop(arguments[1], "no memory");
  int64_t written = 0;
  int found, late = specmask_latency(s); /* samples that are dropped in front */
  do {
    found = read_samples(&in, x, hop);
    specmask_process(s, x, x, 1);
    for (int i = 0; i < hop && written < in.read; i++) {
      if (late > 0) {
        late--;
        continue;
      }
      write_sample(out, x[i], in.is_float, arguments[2]);
      written++;
    }
  } while (found == hop || written < in.read);
  if (in.read < in.samples && in.samples != INT64_MAX)
    fprintf(stderr, "warning: %s: ends after %.0f of %.0f samples\n", arguments[1],
            (double)in.read, (double)in.samples);
  if (!fseek(out, 0, SEEK_SET)) /* a pipe keeps "up to the end" */
    write_head(out, rate, in.is_float, written, arguments[2]);
  if (fclose(out)) stop(arguments[2], "cannot be written");
  fclose(in.file);
  free(x);
  free(s);
  return 0;
}
