/* A LADSPA plugin: speech enhancement of one channel (label specmask), or of two that share one mask
   (label specmask_stereo), at any sampling rate.

   Where the host's rate is not the model's, the sound is resampled to the model's rate and back by
   windowed sincs: flat to 0.05 dB up to 0.88 of the model's band, aliases 90 dB down. What is above
   is kept: y = up(enhanced) + (1 + g) (x - up(down(x))), with g, less 1, the gain of the mask's
   highest bins. So a mask of one gives x back, late by the latency that is reported. */

#include <ladspa.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "specmask.h"

#define CHANNELS 2
#define HALF_WIDTH 48    /* of the sincs, in samples of the lower rate */
#define CUTOFF 0.94      /* -6 dB, as a share of the lower rate's band */
#define ATTENUATION 90.0 /* dB of the stop band */
#define FADE_SECONDS 0.02 /* of the bypass */
#define PI 3.14159265358979323846

enum port { MIX, MAX_SUPPRESSION, GAIN, BYPASS, LATENCY, INPUT }; /* then outputs, as many */

/* One conversion of rate: weights of the samples around each of its phases */
typedef struct {
  int in, out; /* rates without their common divisor */
  int half;    /* samples of the input on either side */
  float *weights; /* [out][2 half] */
} resampler;

/* The newest samples of a signal, twice, so that any of them lie in a row */
typedef struct {
  float *samples;
  int size;
  int64_t count; /* of all that came */
} history;

typedef struct {
  specmask *model;
  history noisy, low, enhanced, top; /* at the host's rate; at the model's */
  float *hop; /* [3][hop_length] */
  int hop_filled;
} channel;

typedef struct {
  int channels, hop_length, latency, model_latency;
  int same_rate;
  int64_t down_count; /* samples at the model's rate so far */
  resampler down, up;
  channel channel[CHANNELS];
  float wet, fade; /* 1: enhanced, 0: bypassed; change per sample */
  float *ports[INPUT + 2 * CHANNELS];
} plugin;

/* ---- Resampling */

static double bessel(double x) { /* I0 */
  double sum = 1, term = 1;
  for (int k = 1; k < 60; k++) sum += term *= (x / 2 / k) * (x / 2 / k);
  return sum;
}

static int common_divisor(int a, int b) { return b ? common_divisor(b, a % b) : a; }

static int create_resampler(resampler *r, int in, int out) {
  const int divisor = common_divisor(in, out);
  const double band = in < out ? 1 : (double)out / in; /* lower rate / input's rate */
  const double beta = 0.1102 * (ATTENUATION - 8.7), edge = HALF_WIDTH / band;
  r->in = in / divisor;
  r->out = out / divisor;
  r->half = (int)ceil(edge) + 1;
  r->weights = calloc((size_t)r->out * 2 * (size_t)r->half, sizeof(float));
  if (!r->weights) return 0;
  for (int phase = 0; phase < r->out; phase++) {
    float *weights = r->weights + (size_t)phase * 2 * (size_t)r->half;
    double sum = 0;
    for (int pass = 0; pass < 2; pass++) /* of sum 1: exact at 0 Hz */
      for (int i = 0; i < 2 * r->half; i++) {
        const double t = i - r->half + 1 - (double)phase / r->out;
        if (fabs(t) >= edge) continue;
        const double turn = PI * CUTOFF * band * t, x = t / edge;
        const double sinc = fabs(turn) < 1e-9 ? 1 : sin(turn) / turn;
        const double weight = sinc * bessel(beta * sqrt(1 - x * x));
        if (pass)
          weights[i] = (float)(weight / sum);
        else
          sum += weight;
      }
  }
  return 1;
}

/* Output sample number n of a signal: its place is n in / out; the newest sample that it needs is
   needed_by(n). What came before the start, or is not yet there, counts as zero. */
static int64_t needed_by(const resampler *r, int64_t n) { return n * r->in / r->out + r->half; }

/* late: samples by which the signal is late */
static float resampled(const resampler *r, const history *h, int64_t n, int late) {
  const int taps = 2 * r->half;
  const float *weights = r->weights + n * r->in % r->out * taps;
  const int64_t first = n * r->in / r->out - r->half + 1 + late;
  const float *x = h->samples + (first % h->size + h->size) % h->size;
  float lanes[8] = {0}, sum = 0;
  int i = 0;
  for (; i + 8 <= taps; i += 8)
    for (int j = 0; j < 8; j++) lanes[j] += weights[i + j] * x[i + j];
  for (; i < taps; i++) sum += weights[i] * x[i];
  for (int j = 0; j < 8; j++) sum += lanes[j];
  return sum;
}

/* ---- Signals */

static int create_history(history *h, int size) {
  h->size = size;
  h->samples = calloc(2 * (size_t)size, sizeof(float));
  return h->samples != 0;
}

static void append(history *h, float x) {
  const int64_t place = h->count++ % h->size;
  h->samples[place] = h->samples[place + h->size] = x;
}

static float sample(const history *h, int64_t n) { return n < 0 ? 0 : h->samples[n % h->size]; }

static void clear(history *h) {
  memset(h->samples, 0, 2 * (size_t)h->size * sizeof(float));
  h->count = 0;
}

/* ---- The plugin */

static void destroy(LADSPA_Handle handle) {
  plugin *p = handle;
  if (!p) return;
  for (int c = 0; c < p->channels; c++) {
    channel *ch = p->channel + c;
    free(ch->model);
    free(ch->noisy.samples);
    free(ch->low.samples);
    free(ch->enhanced.samples);
    free(ch->top.samples);
    free(ch->hop);
  }
  free(p->down.weights);
  free(p->up.weights);
  free(p);
}

static LADSPA_Handle instantiate(const LADSPA_Descriptor *descriptor, unsigned long rate) {
  plugin *p = calloc(1, sizeof *p);
  if (!p || rate < 1000 || rate > 1000000) {
    free(p);
    return 0;
  }
  p->channels = (int)(descriptor->PortCount - INPUT) / 2;
  int complete = 1;
  for (int c = 0; c < p->channels; c++) {
    void *memory = malloc(specmask_bytes(specmask_program, specmask_program_bytes));
    p->channel[c].model = specmask_create(specmask_program, specmask_program_bytes, memory);
    if (!p->channel[c].model) {
      free(memory);
      destroy(p);
      return 0;
    }
    specmask_set_rate(p->channel[c].model, (int)rate);
  }
  const specmask *model = p->channel[0].model;
  const int host_rate = (int)rate, model_rate = specmask_sample_rate(model);
  p->hop_length = specmask_hop_length(model);
  p->model_latency = specmask_latency(model);
  p->same_rate = host_rate == model_rate;
  p->fade = (float)(1 / (FADE_SECONDS * host_rate));
  /* Output sample k of the host's needs the model's samples up to k model / host + half, which are
     there after whole hops of samples that are resampled, in turn, from later ones. */
  p->latency = p->hop_length - 1 + p->model_latency;
  if (!p->same_rate) {
    complete &= create_resampler(&p->down, host_rate, model_rate);
    complete &= create_resampler(&p->up, model_rate, host_rate);
    const double model_samples = p->up.half + p->hop_length + p->model_latency + 1;
    p->latency = (int)ceil(model_samples * host_rate / model_rate) + p->down.half + 1;
  }
  for (int c = 0; c < p->channels; c++) {
    channel *ch = p->channel + c;
    const int size = 2 * p->up.half + 2 * p->hop_length + p->model_latency +
                     (int)((double)p->latency * model_rate / host_rate);
    complete &= create_history(&ch->noisy, p->latency + 2 * p->down.half + 1);
    complete &= create_history(&ch->low, size) && create_history(&ch->enhanced, size) &&
                create_history(&ch->top, size);
    complete &= (ch->hop = calloc(3 * (size_t)p->hop_length, sizeof(float))) != 0;
  }
  if (!complete) {
    destroy(p);
    return 0;
  }
  return p;
}

static void connect_port(LADSPA_Handle handle, unsigned long port, LADSPA_Data *data) {
  ((plugin *)handle)->ports[port] = data;
}

static void activate(LADSPA_Handle handle) {
  plugin *p = handle;
  p->wet = 1;
  p->down_count = 0;
  for (int c = 0; c < p->channels; c++) {
    channel *ch = p->channel + c;
    specmask_reset(ch->model);
    clear(&ch->noisy);
    clear(&ch->low);
    clear(&ch->enhanced);
    clear(&ch->top);
    ch->hop_filled = 0;
  }
}

/* Put a sample at the model's rate into all channels' hops; enhance the hops when they are full. */
static void feed(plugin *p, const float *x) {
  specmask *models[CHANNELS];
  for (int c = 0; c < p->channels; c++) {
    channel *ch = p->channel + c;
    models[c] = ch->model;
    append(&ch->low, x[c]);
    ch->hop[ch->hop_filled++] = x[c];
  }
  if (p->channel[0].hop_filled < p->hop_length) return;
  for (int c = 0; c < p->channels; c++) specmask_analyse(models[c], p->channel[c].hop);
  specmask_link(models, p->channels);
  for (int c = 0; c < p->channels; c++) {
    channel *ch = p->channel + c;
    float *enhanced = ch->hop + p->hop_length, *top = enhanced + p->hop_length;
    specmask_synthesise(ch->model, enhanced, top);
    for (int i = 0; i < p->hop_length; i++) {
      append(&ch->enhanced, enhanced[i]);
      append(&ch->top, top[i]);
    }
    ch->hop_filled = 0;
  }
}

/* Sample n >= 0 of a channel, enhanced, at the host's rate */
static float enhanced_sample(const plugin *p, const channel *ch, int64_t n) {
  const int late = p->model_latency;
  if (p->same_rate) return sample(&ch->enhanced, n + late);
  const float gain = 1 + resampled(&p->up, &ch->top, n, late);
  const float above = sample(&ch->noisy, n) - resampled(&p->up, &ch->low, n, 0);
  return resampled(&p->up, &ch->enhanced, n, late) + gain * above;
}

static float control(const plugin *p, enum port port, float usual, float lowest, float highest) {
  const float value = p->ports[port] ? *p->ports[port] : usual;
  return value >= lowest ? value <= highest ? value : highest : lowest;
}

static void run(LADSPA_Handle handle, unsigned long count) {
  plugin *p = handle;
  const float mix = control(p, MIX, 1, 0, 1);
  const float suppression = control(p, MAX_SUPPRESSION, 200, 0, 200);
  const float gain = (float)pow(10, control(p, GAIN, 0, -60, 60) / 20);
  const float wet = control(p, BYPASS, 0, 0, 1) > 0.5f ? 0 : 1;
  for (int c = 0; c < p->channels; c++) specmask_set(p->channel[c].model, mix, suppression, gain);
  if (p->ports[LATENCY]) *p->ports[LATENCY] = (float)p->latency;
  for (unsigned long i = 0; i < count; i++) {
    float x[CHANNELS];
    for (int c = 0; c < p->channels; c++) {
      x[c] = p->ports[INPUT + c][i];
      if (!isfinite(x[c])) x[c] = 0; /* it would stay in the resampler and above the band */
      append(&p->channel[c].noisy, x[c]);
    }
    const int64_t newest = p->channel[0].noisy.count - 1, n = newest - p->latency;
    if (p->same_rate) {
      feed(p, x);
    } else {
      for (; needed_by(&p->down, p->down_count) <= newest; p->down_count++) {
        for (int c = 0; c < p->channels; c++)
          x[c] = resampled(&p->down, &p->channel[c].noisy, p->down_count, 0);
        feed(p, x);
      }
    }
    if (p->wet < wet)
      p->wet = p->wet + p->fade < wet ? p->wet + p->fade : wet;
    else if (p->wet > wet)
      p->wet = p->wet - p->fade > wet ? p->wet - p->fade : wet;
    for (int c = 0; c < p->channels; c++) {
      const channel *ch = p->channel + c;
      float y = 0;
      if (n >= 0) y = p->wet * enhanced_sample(p, ch, n) + (1 - p->wet) * sample(&ch->noisy, n);
      p->ports[INPUT + p->channels + c][i] = y;
    }
  }
}

#define PORTS(channels) (INPUT + 2 * (channels))
#define CONTROLS                                                                            \
  LADSPA_PORT_INPUT | LADSPA_PORT_CONTROL, LADSPA_PORT_INPUT | LADSPA_PORT_CONTROL,         \
      LADSPA_PORT_INPUT | LADSPA_PORT_CONTROL, LADSPA_PORT_INPUT | LADSPA_PORT_CONTROL,     \
      LADSPA_PORT_OUTPUT | LADSPA_PORT_CONTROL
#define IN LADSPA_PORT_INPUT | LADSPA_PORT_AUDIO
#define OUT LADSPA_PORT_OUTPUT | LADSPA_PORT_AUDIO
#define NAMES "Mix", "Max suppression (dB)", "Gain (dB)", "Bypass", "latency"
#define BOUNDED LADSPA_HINT_BOUNDED_BELOW | LADSPA_HINT_BOUNDED_ABOVE
#define HINTS                                                                                     \
  {BOUNDED | LADSPA_HINT_DEFAULT_1, 0, 1}, {BOUNDED | LADSPA_HINT_DEFAULT_MAXIMUM, 0, 200},       \
      {BOUNDED | LADSPA_HINT_DEFAULT_0, -60, 60}, {LADSPA_HINT_TOGGLED | LADSPA_HINT_DEFAULT_0, 0, 0}, \
      {0, 0, 0}

static const LADSPA_PortDescriptor mono_ports[] = {CONTROLS, IN, OUT};
static const LADSPA_PortDescriptor stereo_ports[] = {CONTROLS, IN, IN, OUT, OUT};
static const char *const mono_names[] = {NAMES, "Input", "Output"};
static const char *const stereo_names[] = {NAMES, "Input left", "Input right", "Output left",
                                           "Output right"};
static const LADSPA_PortRangeHint mono_hints[] = {HINTS, {0, 0, 0}, {0, 0, 0}};
static const LADSPA_PortRangeHint stereo_hints[] = {HINTS, {0, 0, 0}, {0, 0, 0}, {0, 0, 0},
                                                    {0, 0, 0}};

#define DESCRIPTOR(id, label, title, channels, ports, names, hints)                         \
  {                                                                                         \
    id, label, 0, title, "Specmask", "MIT", PORTS(channels), ports, names, hints, 0,        \
        instantiate, connect_port, activate, run, 0, 0, 0, destroy                          \
  }

/* Identifiers below 1000 are free for use without registration. */
static const LADSPA_Descriptor descriptors[] = {
    DESCRIPTOR(871, "specmask", "Specmask speech enhancement", 1, mono_ports, mono_names,
               mono_hints),
    DESCRIPTOR(872, "specmask_stereo", "Specmask speech enhancement, stereo", 2, stereo_ports,
               stereo_names, stereo_hints)};

#ifdef __GNUC__
__attribute__((visibility("default"))) /* the only name that is seen */
#endif
const LADSPA_Descriptor *ladspa_descriptor(unsigned long index) {
  return index < sizeof descriptors / sizeof *descriptors ? descriptors + index : 0;
}
