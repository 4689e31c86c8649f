/* Specmask: a trained speech enhancer in C99, with no library, not even the standard one.

   The program is an array of 32-bit words, little-endian, written by specmask/export/program.py:
   a header (enum header below), operations, and float32 constants. The network's tensors are parts
   of one array of floats, the arena; a view of a tensor is an offset and a stride per dimension.
   Two operations suffice for every network:

     element by element   out[i] = f(a[i], b[i], c[i]) over up to four dimensions; strides of zero
                          broadcast, and with a stride of zero in out it sums or finds maxima
     matrix product       out[m, n] = f(sum over k of a[m, k] b[k, n] + bias[n]), twice batched; the
                          rows of a may overlap, so that it is the convolution too
*/

#include "specmask.h"

#include <stdint.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3", "no-math-errno") /* vectorises with -O2, too */
#endif

#define MAGIC 0x4b4d5053 /* "SPMK" */
#define VERSION 1
#define DIMENSIONS 4
#define MOST_ELEMENTS (1 << 28) /* of an operation, and of the arena */
#define NONE INT32_MIN /* in place of an offset: no such view */

enum header {
  AT_MAGIC, AT_VERSION, AT_WORDS, AT_CHECKSUM, /* the checksum is of the words behind it */
  AT_SAMPLE_RATE, AT_WINDOW_LENGTH, AT_HOP_LENGTH, AT_N_FFT, AT_LOOKAHEAD_FRAMES,
  AT_MIX, AT_MAX_SUPPRESSION_DB, AT_GAIN, /* float32 */
  AT_ARENA,                               /* floats */
  AT_NOISY, AT_MASK,                      /* offsets in the arena */
  AT_OPERATIONS, AT_OPERATION_WORDS,      /* from the start of the program */
  AT_CONSTANTS, AT_CONSTANT_COUNT,        /* from the start of the program */
  /* Offsets in the constants: windows, cos and -sin of 2 pi k / n_fft. */
  AT_WINDOW, AT_SYNTHESIS_WINDOW, AT_COSINES, AT_SINES,
  HEADER_WORDS
};

/* Functions of an operation. The order is that of FUNCTIONS in program.py. */
enum function {
  COPY, NEGATE, ABSOLUTE, SQUARE_ROOT, RECIPROCAL, EXPONENTIAL, LOGARITHM, TANH, SIGMOID, RELU,
  LEAKY_RELU, SOFTPLUS, /* one operand */
  ADD, SUBTRACT, MULTIPLY, DIVIDE, POWER, MAXIMUM, MINIMUM, GREATER, GREATER_OR_EQUAL, EQUAL,
  SELECT,        /* c where a is zero, else b */
  SUM, LARGEST,  /* out and a: out + parameter * a; the larger one */
  MATRIX_PRODUCT /* parameter: of the activation */
};

/* Words of an operation. */
enum elements { E_FUNCTION, E_LENGTH, E_PARAMETER, E_SIZES, E_VIEWS = E_SIZES + DIMENSIONS };
enum { VIEW_WORDS = 1 + DIMENSIONS }; /* offset, strides */
enum product {
  P_FUNCTION, P_LENGTH, P_PARAMETER, P_ACTIVATION,
  P_OUTER, P_INNER, P_M, P_K1, P_K2, P_N, /* sizes: two batches, rows, K as two loops, columns */
  P_OUT, P_OUT_OUTER, P_OUT_INNER, P_OUT_M,
  P_A, P_A_OUTER, P_A_INNER, P_A_M, P_A_K1, P_A_K2,
  P_B, P_B_OUTER, P_B_INNER, P_B_K, /* rows of b follow each other through K1 and K2 */
  P_BIAS,
  P_WORDS
};

struct specmask {
  const int32_t *program;
  const float *constants;
  int window_length, hop_length, n_fft, bins, lookahead_frames;
  float mix, max_suppression_db, gain;
  int top_first, top_count; /* the bins whose mean gain holds above the band */
  int frame;       /* the slot of spectra that comes next */
  float *arena;
  float *spectra;  /* [lookahead_frames + 1][bins][2] */
  float *mask;     /* [bins][2] */
  float *history;  /* the last window_length samples */
  float *overlap;  /* window_length samples that are not complete */
  float *top;      /* the same of the gain above the band */
  float *work;     /* [4][n_fft / 2] of the FFT, then n_fft samples */
};

/* ---- Elementary functions, about 2e-7 exact, without branches: compilers vectorise them */

typedef union {
  float f;
  int32_t i;
} bits;

static inline float exponential(float x) {
  x = x > -87.0f ? x : -87.0f;
  x = x < 88.0f ? x : 88.0f;
  /* x = k ln 2 + r, |r| <= ln 2 / 2: e^x = 2^k e^r. ln 2 in two parts, the first exact times k. */
  const float t = x * 1.44269504f;
  const int32_t k = (int32_t)(t + (t < 0 ? -0.5f : 0.5f));
  const float r = (x - (float)k * 0.693359375f) + (float)k * 2.12194440e-4f;
  const float e = 1 + r * (1 + r * (1.0f / 2 + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 +
                  r * (1.0f / 720 + r * (1.0f / 5040)))))));
  bits scale;
  scale.i = (k + 127) << 23;
  return e * scale.f;
}

static inline float logarithm(float x) { /* of 0 and less: that of the smallest number, -87.3 */
  bits m;
  m.f = x > 1.17549435e-38f ? x : 1.17549435e-38f;
  /* x = 2^k m with m from sqrt(1/2) to sqrt(2): ln m = 2 artanh s, s = (m - 1) / (m + 1) */
  const int32_t k = (m.i - 0x3f3504f3) >> 23;
  m.i -= (int32_t)((uint32_t)k << 23);
  const float s = (m.f - 1) / (m.f + 1), q = s * s;
  const float l = 2 * s * (1 + q * (1.0f / 3 + q * (1.0f / 5 + q * (1.0f / 7 + q * (1.0f / 9)))));
  return (l - (float)k * 2.12194440e-4f) + (float)k * 0.693359375f;
}

static inline float power(float x, float y) { /* of x > 0; else 0 */
  return x > 0 ? exponential(y * logarithm(x)) : 0;
}

static inline float square_root(float x) {
  /* Newton's iteration for y = 1 / sqrt(x), from the halved exponent */
  bits y;
  y.f = x > 1e-37f ? x : 1e-37f;
  y.i = 0x5f3759df - (y.i >> 1);
  y.f *= 1.5f - 0.5f * x * y.f * y.f;
  y.f *= 1.5f - 0.5f * x * y.f * y.f;
  y.f *= 1.5f - 0.5f * x * y.f * y.f;
  return x > 0 ? x * y.f : 0;
}

static inline float hyperbolic_tangent(float x) {
  const float size = x < 0 ? -x : x, q = x * x;
  const float near = size * (1 - q * (1.0f / 3 - q * (2.0f / 15 - q * (17.0f / 315 - q *
                     (62.0f / 2835 - q * (1382.0f / 155925))))));
  const float far = 1 - 2 / (exponential(2 * size) + 1);
  const float y = size < 0.35f ? near : far;
  return x < 0 ? -y : y;
}

static inline float logistic(float x) { return 1 / (1 + exponential(-x)); }

static inline float softplus(float x) { /* ln(1 + e^x) = max(x, 0) + ln(1 + t), t = e^-|x| */
  const float t = exponential(x > 0 ? -x : x), s = t / (2 + t), q = s * s;
  const float l = 1 + q * (1.0f / 3 + q * (1.0f / 5 + q * (1.0f / 7 + q * (1.0f / 9 + q * (1.0f / 11 +
                  q * (1.0f / 13 + q * (1.0f / 15)))))));
  return (x > 0 ? x : 0) + 2 * s * l;
}

static int is_finite(float x) { return x - x == 0; }

/* ---- Element by element */

static void copy(float *to, const float *from, int n) { /* to may lie before from and overlap it */
  for (int i = 0; i < n; i++) to[i] = from[i];
}

static void clear(float *x, int n) {
  for (int i = 0; i < n; i++) x[i] = 0;
}

#define CHUNK 64

/* out[i] = f(a[i], b[i], c[i]) of arrays without gaps */
static void apply(int function, float parameter, int n, float *restrict out,
                  const float *restrict a, const float *restrict b, const float *restrict c) {
#define CASE(name, expression) \
  case name:                   \
    for (int i = 0; i < n; i++) out[i] = (expression); \
    break
  switch (function) {
    CASE(COPY, a[i]);
    CASE(NEGATE, -a[i]);
    CASE(ABSOLUTE, a[i] < 0 ? -a[i] : a[i]);
    CASE(SQUARE_ROOT, square_root(a[i]));
    CASE(RECIPROCAL, 1 / a[i]);
    CASE(EXPONENTIAL, exponential(a[i]));
    CASE(LOGARITHM, logarithm(a[i]));
    CASE(TANH, hyperbolic_tangent(a[i]));
    CASE(SIGMOID, logistic(a[i]));
    CASE(RELU, a[i] > 0 ? a[i] : 0);
    CASE(LEAKY_RELU, a[i] > 0 ? a[i] : parameter * a[i]);
    CASE(SOFTPLUS, softplus(a[i]));
    CASE(ADD, a[i] + b[i]);
    CASE(SUBTRACT, a[i] - b[i]);
    CASE(MULTIPLY, a[i] * b[i]);
    CASE(DIVIDE, a[i] / b[i]);
    CASE(POWER, power(a[i], b[i]));
    CASE(MAXIMUM, a[i] > b[i] ? a[i] : b[i]);
    CASE(MINIMUM, a[i] < b[i] ? a[i] : b[i]);
    CASE(GREATER, a[i] > b[i] ? 1.0f : 0.0f);
    CASE(GREATER_OR_EQUAL, a[i] >= b[i] ? 1.0f : 0.0f);
    CASE(EQUAL, a[i] == b[i] ? 1.0f : 0.0f);
    CASE(SELECT, a[i] != 0 ? b[i] : c[i]);
    CASE(SUM, out[i] + parameter * a[i]);
    CASE(LARGEST, out[i] > a[i] ? out[i] : a[i]);
  }
#undef CASE
}

/* The sum or the largest of n numbers, with out[0] */
static void reduce(int function, float parameter, int n, float *out, const float *a) {
  float lanes[8];
  int i = 0;
  if (n >= 8) {
    for (; i < 8; i++) lanes[i] = a[i];
    if (function == SUM) {
      for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) lanes[j] += a[i + j];
    } else {
      for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) lanes[j] = a[i + j] > lanes[j] ? a[i + j] : lanes[j];
    }
    for (int j = 1; j < 8; j++)
      lanes[0] = function == SUM ? lanes[0] + lanes[j] : lanes[j] > lanes[0] ? lanes[j] : lanes[0];
  } else {
    lanes[0] = a[i++];
  }
  for (; i < n; i++) lanes[0] = function == SUM ? lanes[0] + a[i] : a[i] > lanes[0] ? a[i] : lanes[0];
  apply(function, parameter, 1, out, lanes, lanes, lanes);
}

/* Numbers at a stride as an array without gaps: themselves if they have none, else a copy */
static const float *gathered(const float *x, int stride, int n, float *copy) {
  if (stride == 1) return x;
  for (int i = 0; i < n; i++) copy[i] = x[i * stride];
  return copy;
}

static void row(int function, float parameter, int n, float *out, int out_stride,
                const float *const *in, const int *strides, int operands) {
  float copies[3][CHUNK], result[CHUNK];
  for (int i = 0; i < n; i += CHUNK) {
    const int count = n - i < CHUNK ? n - i : CHUNK;
    const float *from[3];
    for (int j = 0; j < operands; j++)
      from[j] = gathered(in[j] + i * strides[j], strides[j], count, copies[j]);
    for (int j = operands; j < 3; j++) from[j] = from[0];
    float *to = out + i * out_stride;
    if (out_stride == 0 && (function == SUM || function == LARGEST)) {
      reduce(function, parameter, count, to, from[0]);
    } else if (out_stride == 1) {
      apply(function, parameter, count, to, from[0], from[1], from[2]);
    } else {
      if (function == SUM || function == LARGEST)
        for (int j = 0; j < count; j++) result[j] = to[j * out_stride];
      apply(function, parameter, count, result, from[0], from[1], from[2]);
      for (int j = 0; j < count; j++) to[j * out_stride] = result[j];
    }
  }
}

static int operands_of(int function) {
  return function == SELECT ? 3 : function >= ADD && function <= EQUAL ? 2 : 1;
}

static const float *input(const specmask *s, int32_t offset) { /* below zero: a constant */
  return offset < 0 ? s->constants + ~offset : s->arena + offset;
}

static float float_of(int32_t word) {
  bits x;
  x.i = word;
  return x.f;
}

static void elements(const specmask *s, const int32_t *op) {
  const int function = op[E_FUNCTION], operands = operands_of(function);
  const float parameter = float_of(op[E_PARAMETER]);
  const int32_t *size = op + E_SIZES, *out = op + E_VIEWS;
  int strides[3];
  for (int j = 0; j < operands; j++) strides[j] = out[(j + 1) * VIEW_WORDS + DIMENSIONS];
  for (int x = 0; x < size[0]; x++)
    for (int y = 0; y < size[1]; y++)
      for (int z = 0; z < size[2]; z++) {
        const float *in[3];
        for (int j = 0; j < operands; j++) {
          const int32_t *view = out + (j + 1) * VIEW_WORDS;
          in[j] = input(s, view[0]) + x * view[1] + y * view[2] + z * view[3];
        }
        row(function, parameter, size[3], s->arena + out[0] + x * out[1] + y * out[2] + z * out[3],
            out[DIMENSIONS], in, strides, operands);
      }
}

/* ---- Matrix product */

/* c[n] += sum over k of a[k] b[k, n], eight rows of b at a time: c is loaded and stored once */
static void accumulate(float *restrict c, const float *restrict a, int a_stride,
                       const float *restrict b, int b_stride, int k, int n) {
  for (; k >= 8; k -= 8) {
    const float a0 = a[0], a1 = a[a_stride], a2 = a[2 * a_stride], a3 = a[3 * a_stride];
    const float a4 = a[4 * a_stride], a5 = a[5 * a_stride], a6 = a[6 * a_stride];
    const float a7 = a[7 * a_stride];
    const float *b0 = b, *b1 = b + b_stride, *b2 = b1 + b_stride, *b3 = b2 + b_stride;
    const float *b4 = b3 + b_stride, *b5 = b4 + b_stride, *b6 = b5 + b_stride, *b7 = b6 + b_stride;
    for (int i = 0; i < n; i++)
      c[i] += ((a0 * b0[i] + a1 * b1[i]) + (a2 * b2[i] + a3 * b3[i])) +
              ((a4 * b4[i] + a5 * b5[i]) + (a6 * b6[i] + a7 * b7[i]));
    a += 8 * a_stride;
    b += 8 * b_stride;
  }
  for (; k > 0; k--, a += a_stride, b += b_stride) {
    const float a0 = a[0];
    for (int i = 0; i < n; i++) c[i] += a0 * b[i];
  }
}

static void matrix_product(const specmask *s, const int32_t *op) {
  const int n = op[P_N], columns = op[P_B_K];
  const float *bias = op[P_BIAS] == NONE ? 0 : input(s, op[P_BIAS]);
  for (int outer = 0; outer < op[P_OUTER]; outer++)
    for (int inner = 0; inner < op[P_INNER]; inner++) {
      float *c = s->arena + op[P_OUT] + outer * op[P_OUT_OUTER] + inner * op[P_OUT_INNER];
      const float *a = input(s, op[P_A]) + outer * op[P_A_OUTER] + inner * op[P_A_INNER];
      const float *b = input(s, op[P_B]) + outer * op[P_B_OUTER] + inner * op[P_B_INNER];
      for (int m = 0; m < op[P_M]; m++, a += op[P_A_M], c += op[P_OUT_M]) {
        for (int i = 0; i < n; i++) c[i] = bias ? bias[i] : 0;
        for (int k = 0; k < op[P_K1]; k++)
          accumulate(c, a + k * op[P_A_K1], op[P_A_K2], b + k * op[P_K2] * columns, columns,
                     op[P_K2], n);
        for (int i = 0; i < n && op[P_ACTIVATION] != COPY; i += CHUNK) {
          const int count = n - i < CHUNK ? n - i : CHUNK;
          float sums[CHUNK];
          copy(sums, c + i, count);
          apply(op[P_ACTIVATION], float_of(op[P_PARAMETER]), count, c + i, sums, sums, sums);
        }
      }
    }
}

static void run(const specmask *s) {
  const int32_t *op = s->program + s->program[AT_OPERATIONS];
  const int32_t *end = op + s->program[AT_OPERATION_WORDS];
  for (; op < end; op += op[E_LENGTH]) {
    if (op[E_FUNCTION] == MATRIX_PRODUCT)
      matrix_product(s, op);
    else
      elements(s, op);
  }
}

/* ---- Fast Fourier transform */

/* The transform of n complex numbers (x, y), with (u, v) as room: one pass per factor of n, each
   leaving its results in order (Stockham). e^(-2 pi i k / n_fft) is (cosines[k], sines[k]).
   Returns 1 if the result is in (u, v). */
static int transform(int n, float *x, float *y, float *u, float *v, const float *cosines,
                     const float *sines, int n_fft) {
  int length = n, stride = 1, swapped = 0; /* length: of the transforms that are still to do */
  const int unit = n_fft / n;
  while (length > 1) {
    int p = 4; /* the factor */
    if (length % 4)
      for (p = 2; length % p; p++) {
      }
    const int m = length / p;
    for (int j = 0; j < m; j++) {
      const int turn = j * stride * unit; /* e^(-2 pi i j / length) */
      if (p == 4) {
        const float c1 = cosines[turn], s1 = sines[turn], c2 = cosines[2 * turn],
                    s2 = sines[2 * turn], c3 = cosines[3 * turn], s3 = sines[3 * turn];
        const float *x0 = x + stride * j, *x1 = x0 + stride * m, *x2 = x1 + stride * m,
                    *x3 = x2 + stride * m, *y0 = y + stride * j, *y1 = y0 + stride * m,
                    *y2 = y1 + stride * m, *y3 = y2 + stride * m;
        float *restrict to = u + 4 * stride * j, *restrict ti = v + 4 * stride * j;
        for (int q = 0; q < stride; q++) {
          const float ar = x0[q] + x2[q], ai = y0[q] + y2[q], br = x0[q] - x2[q],
                      bi = y0[q] - y2[q], cr = x1[q] + x3[q], ci = y1[q] + y3[q],
                      dr = y1[q] - y3[q], di = x3[q] - x1[q]; /* -i (x1 - x3) */
          const float er = br + dr, ei = bi + di, fr = ar - cr, fi = ai - ci, gr = br - dr,
                      gi = bi - di;
          to[q] = ar + cr;
          ti[q] = ai + ci;
          to[q + stride] = er * c1 - ei * s1;
          ti[q + stride] = er * s1 + ei * c1;
          to[q + 2 * stride] = fr * c2 - fi * s2;
          ti[q + 2 * stride] = fr * s2 + fi * c2;
          to[q + 3 * stride] = gr * c3 - gi * s3;
          ti[q + 3 * stride] = gr * s3 + gi * c3;
        }
      } else {
        for (int r = 0; r < p; r++) {
          float *restrict to = u + stride * (p * j + r), *restrict ti = v + stride * (p * j + r);
          for (int q = 0; q < stride; q++) to[q] = ti[q] = 0;
          for (int k = 0; k < p; k++) { /* e^(-2 pi i (j r / length + k r / p)) */
            const int at = (int)((turn * (int64_t)r + (int64_t)k * r % p * (n_fft / p)) % n_fft);
            const float c = cosines[at], s = sines[at];
            const float *xk = x + stride * (j + m * k), *yk = y + stride * (j + m * k);
            for (int q = 0; q < stride; q++) {
              to[q] += xk[q] * c - yk[q] * s;
              ti[q] += xk[q] * s + yk[q] * c;
            }
          }
        }
      }
    }
    float *t = x;
    x = u;
    u = t;
    t = y;
    y = v;
    v = t;
    swapped = !swapped;
    length = m;
    stride *= p;
  }
  return swapped;
}

/* The spectrum [bins][2] of n_fft samples: pairs of samples as complex numbers */
static void forward(const specmask *s, const float *samples, float *spectrum) {
  const int n = s->n_fft / 2;
  const float *cosines = s->constants + s->program[AT_COSINES];
  const float *sines = s->constants + s->program[AT_SINES];
  float *x = s->work, *y = x + n, *u = y + n, *v = u + n;
  for (int i = 0; i < n; i++) {
    x[i] = samples[2 * i];
    y[i] = samples[2 * i + 1];
  }
  if (transform(n, x, y, u, v, cosines, sines, s->n_fft)) {
    x = u;
    y = v;
  }
  /* Z = E + i O with the transforms E and O of the even and the odd samples; X = E + w O */
  for (int k = 0; k <= n; k++) {
    const int i = k % n, j = (n - k) % n;
    const float er = 0.5f * (x[i] + x[j]), ei = 0.5f * (y[i] - y[j]);
    const float odd_r = 0.5f * (y[i] + y[j]), odd_i = 0.5f * (x[j] - x[i]);
    const float c = k < n ? cosines[k] : -1, d = k < n ? sines[k] : 0;
    spectrum[2 * k] = er + odd_r * c - odd_i * d;
    spectrum[2 * k + 1] = ei + odd_r * d + odd_i * c;
  }
}

/* n_fft samples of a spectrum [bins][2], the imaginary parts of whose ends count as zero */
static void backward(const specmask *s, const float *spectrum, float *samples) {
  const int n = s->n_fft / 2;
  const float *cosines = s->constants + s->program[AT_COSINES];
  const float *sines = s->constants + s->program[AT_SINES];
  float *x = s->work, *y = x + n, *u = y + n, *v = u + n;
  const float scale = 0.5f / (float)n;
  for (int k = 0; k < n; k++) {
    const float *a = spectrum + 2 * k, *b = spectrum + 2 * (n - k);
    const float ai = k ? a[1] : 0, bi = k ? b[1] : 0;
    const float er = a[0] + b[0], ei = ai - bi, dr = a[0] - b[0], di = ai + bi;
    const float odd_r = dr * cosines[k] + di * sines[k], odd_i = di * cosines[k] - dr * sines[k];
    x[k] = scale * (er - odd_i);
    y[k] = scale * (ei + odd_r);
  }
  if (transform(n, y, x, v, u, cosines, sines, s->n_fft)) { /* parts exchanged: the inverse */
    x = u;
    y = v;
  }
  for (int i = 0; i < n; i++) {
    samples[2 * i] = x[i];
    samples[2 * i + 1] = y[i];
  }
}

/* ---- The stream */

void specmask_step(specmask *s, const float *spectrum, float *mask) {
  copy(s->arena + s->program[AT_NOISY], spectrum, 2 * s->bins);
  run(s);
  copy(mask, s->arena + s->program[AT_MASK], 2 * s->bins);
}

/* The frame that the newest mask is for; also the slot that the next frame takes. */
static float *due(const specmask *s) { return s->spectra + 2 * s->bins * s->frame; }

void specmask_analyse(specmask *s, const float *noisy) {
  const float *window = s->constants + s->program[AT_WINDOW];
  const int kept = s->window_length - s->hop_length;
  float *samples = s->work + 2 * s->n_fft, *spectrum = due(s);
  copy(s->history, s->history + s->hop_length, kept);
  for (int i = 0; i < s->hop_length; i++) /* one NaN would stay in the states to the end */
    s->history[kept + i] = is_finite(noisy[i]) ? noisy[i] : 0;
  for (int i = 0; i < s->window_length; i++) samples[i] = s->history[i] * window[i];
  clear(samples + s->window_length, s->n_fft - s->window_length);
  forward(s, samples, spectrum);
  specmask_step(s, spectrum, s->mask);
  s->frame = (s->frame + 1) % (s->lookahead_frames + 1);
}

void specmask_link(specmask *const *handles, int count) {
  if (count < 2) return;
  const int values = 2 * handles[0]->bins;
  float total = 0;
  for (int h = 0; h < count; h++) {
    const specmask *s = handles[h];
    const float *noisy = due(s);
    float sum = 1e-12f; /* in silence all channels count alike */
    for (int i = 0; i < values; i++) sum += noisy[i] * noisy[i];
    total += sum;
    for (int i = 0; i < values; i++)
      handles[0]->mask[i] = (h ? handles[0]->mask[i] : 0) + sum * s->mask[i];
  }
  for (int i = 0; i < values; i++) handles[0]->mask[i] /= total;
  for (int h = 1; h < count; h++) copy(handles[h]->mask, handles[0]->mask, values);
}

/* Weight a frame by the synthesis window, add it to what overlaps, return the complete samples. */
static void overlap_add(const specmask *s, const float *frame, float *overlap, float *complete) {
  const float *window = s->constants + s->program[AT_SYNTHESIS_WINDOW];
  const int kept = s->window_length - s->hop_length;
  for (int i = 0; i < s->window_length; i++) overlap[i] += frame[i] * window[i];
  copy(complete, overlap, s->hop_length);
  copy(overlap, overlap + s->hop_length, kept);
  clear(overlap + kept, s->hop_length);
}

void specmask_synthesise(specmask *s, float *enhanced, float *top_gain) {
  const float *window = s->constants + s->program[AT_WINDOW];
  const float floor = exponential(-0.115129255f * s->max_suppression_db); /* 10^(-dB / 20) */
  float *samples = s->work + 2 * s->n_fft, *spectrum = due(s), gain = 0;
  for (int k = 0; k < s->bins; k++) {
    float real = s->mask[2 * k], imaginary = s->mask[2 * k + 1];
    /* g (m M max(1, f / |M|) + 1 - m); see specmask/enhancement/postprocess.py */
    const float size = square_root(real * real + imaginary * imaginary);
    if (size < floor) {
      real = size > 1e-18f ? real / size * floor : floor;
      imaginary = size > 1e-18f ? imaginary / size * floor : 0;
    }
    real = s->gain * (s->mix * real + 1 - s->mix);
    imaginary = s->gain * s->mix * imaginary;
    if (top_gain && k >= s->top_first && k < s->top_first + s->top_count) {
      const float now = square_root(real * real + imaginary * imaginary);
      gain += (now < s->gain ? now : s->gain) / (float)s->top_count;
    }
    const float a = spectrum[2 * k], b = spectrum[2 * k + 1];
    spectrum[2 * k] = real * a - imaginary * b;
    spectrum[2 * k + 1] = real * b + imaginary * a;
  }
  backward(s, spectrum, samples);
  overlap_add(s, samples, s->overlap, enhanced);
  if (top_gain) {
    for (int i = 0; i < s->window_length; i++) samples[i] = (gain - 1) * window[i];
    overlap_add(s, samples, s->top, top_gain);
  }
}

void specmask_process(specmask *s, const float *noisy, float *enhanced, int hops) {
  for (int hop = 0; hop < hops; hop++) {
    specmask_analyse(s, noisy + hop * s->hop_length);
    specmask_synthesise(s, enhanced + hop * s->hop_length, 0);
  }
}

void specmask_set(specmask *s, float mix, float max_suppression_db, float gain) {
  s->mix = mix;
  s->max_suppression_db = max_suppression_db;
  s->gain = gain;
}

int specmask_sample_rate(const specmask *s) { return s->program[AT_SAMPLE_RATE]; }
int specmask_hop_length(const specmask *s) { return s->hop_length; }
int specmask_bins(const specmask *s) { return s->bins; }
float specmask_mix(const specmask *s) { return s->mix; }
float specmask_max_suppression_db(const specmask *s) { return s->max_suppression_db; }
float specmask_gain(const specmask *s) { return s->gain; }
int specmask_latency(const specmask *s) {
  return s->window_length - s->hop_length + s->lookahead_frames * s->hop_length;
}

/* ---- Programs and handles */

/* Whether every element of a view is within size floats from offset on, and none too many */
static int inside(int64_t offset, const int32_t *sizes, const int32_t *strides, int dimensions,
                  int64_t size) {
  int64_t first = offset, last = offset, count = 1;
  for (int i = 0; i < dimensions; i++) {
    if (sizes[i] < 1) return 0;
    count *= sizes[i];
    if (count > MOST_ELEMENTS) return 0;
    const int64_t reach = (int64_t)(sizes[i] - 1) * strides[i];
    if (reach < 0)
      first += reach;
    else
      last += reach;
  }
  return first >= 0 && last < size;
}

static int readable(const int32_t *program, int32_t offset, const int32_t *sizes,
                    const int32_t *strides, int dimensions) {
  if (offset == NONE) return 0;
  if (offset >= 0) return inside(offset, sizes, strides, dimensions, program[AT_ARENA]);
  return inside(~offset, sizes, strides, dimensions, program[AT_CONSTANT_COUNT]);
}

static int is_operation(const int32_t *program, const int32_t *op, int left) {
  if (left < 2 || op[E_LENGTH] > left) return 0;
  if (op[E_FUNCTION] == MATRIX_PRODUCT) {
    if (op[P_LENGTH] != P_WORDS) return 0;
    const int32_t k = op[P_K1], outer = op[P_OUTER], inner = op[P_INNER], one = 1;
    const int32_t out[] = {outer, inner, op[P_M], op[P_N]}, a[] = {outer, inner, op[P_M], k, op[P_K2]};
    const int32_t out_strides[] = {op[P_OUT_OUTER], op[P_OUT_INNER], op[P_OUT_M], 1};
    const int32_t b[] = {outer, inner, k, op[P_K2], op[P_N]};
    const int64_t b_k1 = (int64_t)op[P_K2] * op[P_B_K];
    const int32_t b_strides[] = {op[P_B_OUTER], op[P_B_INNER], (int32_t)b_k1, op[P_B_K], 1};
    return b_k1 == (int32_t)b_k1 && op[P_ACTIVATION] >= COPY &&
           op[P_ACTIVATION] <= SOFTPLUS && inside(op[P_OUT], out, out_strides, 4, program[AT_ARENA]) &&
           readable(program, op[P_A], a, op + P_A_OUTER, 5) &&
           readable(program, op[P_B], b, b_strides, 5) &&
           (op[P_BIAS] == NONE || readable(program, op[P_BIAS], &op[P_N], &one, 1));
  }
  if (op[E_FUNCTION] < COPY || op[E_FUNCTION] > LARGEST) return 0;
  const int operands = operands_of(op[E_FUNCTION]);
  const int32_t *view = op + E_VIEWS;
  if (op[E_LENGTH] != E_VIEWS + (1 + operands) * VIEW_WORDS) return 0;
  if (!inside(view[0], op + E_SIZES, view + 1, DIMENSIONS, program[AT_ARENA])) return 0;
  if (view[DIMENSIONS] == 0 && op[E_FUNCTION] < SUM && op[E_SIZES + DIMENSIONS - 1] > 1) return 0;
  for (int j = 1; j <= operands; j++) {
    const int32_t *v = view + j * VIEW_WORDS;
    if (!readable(program, v[0], op + E_SIZES, v + 1, DIMENSIONS)) return 0;
  }
  return 1;
}

/* Whether a part of the program or of its constants is within its bounds */
static int part(int64_t start, int64_t count, int64_t size) {
  return start >= 0 && count >= 0 && start + count <= size;
}

static int is_program(const int32_t *p, size_t bytes) {
  if (!p || (uintptr_t)p % 4 || bytes < 4 * HEADER_WORDS || p[AT_MAGIC] != MAGIC || p[AT_VERSION] != VERSION ||
      p[AT_WORDS] < HEADER_WORDS || (size_t)p[AT_WORDS] > bytes / 4)
    return 0;
  const int32_t body = AT_CHECKSUM + 1;
  uint32_t checksum = 0; /* sum of (2 i + 1) word i: one damaged word always changes it */
  for (int32_t i = body; i < p[AT_WORDS]; i++)
    checksum += (2 * (uint32_t)(i - body) + 1) * (uint32_t)p[i];
  if (checksum != (uint32_t)p[AT_CHECKSUM]) return 0;
  const int32_t constants = p[AT_CONSTANT_COUNT], n_fft = p[AT_N_FFT], arena = p[AT_ARENA];
  if (p[AT_SAMPLE_RATE] < 1 || n_fft < 2 || n_fft % 2 || n_fft > 1 << 20 ||
      p[AT_HOP_LENGTH] < 1 || p[AT_WINDOW_LENGTH] < p[AT_HOP_LENGTH] ||
      p[AT_WINDOW_LENGTH] > n_fft || p[AT_LOOKAHEAD_FRAMES] < 0 ||
      p[AT_LOOKAHEAD_FRAMES] > 1 << 12 || arena < 0 || arena > MOST_ELEMENTS ||
      !part(p[AT_OPERATIONS], p[AT_OPERATION_WORDS], p[AT_WORDS]) ||
      !part(p[AT_CONSTANTS], constants, p[AT_WORDS]) ||
      !part(p[AT_NOISY], n_fft + 2, arena) || !part(p[AT_MASK], n_fft + 2, arena) ||
      !part(p[AT_WINDOW], p[AT_WINDOW_LENGTH], constants) ||
      !part(p[AT_SYNTHESIS_WINDOW], p[AT_WINDOW_LENGTH], constants) ||
      !part(p[AT_COSINES], n_fft, constants) || !part(p[AT_SINES], n_fft, constants))
    return 0;
  const int32_t *op = p + p[AT_OPERATIONS];
  for (int32_t left = p[AT_OPERATION_WORDS]; left > 0;) {
    if (!is_operation(p, op, left)) return 0;
    left -= op[E_LENGTH];
    op += op[E_LENGTH];
  }
  return 1;
}

/* Floats of a handle's arrays, in the order in which specmask_create lays them out */
static void floats_of(const int32_t *p, size_t counts[7]) {
  const size_t values = (size_t)p[AT_N_FFT] + 2;
  counts[0] = (size_t)p[AT_ARENA];
  counts[1] = values * ((size_t)p[AT_LOOKAHEAD_FRAMES] + 1);
  counts[2] = values;
  counts[3] = counts[4] = counts[5] = (size_t)p[AT_WINDOW_LENGTH];
  counts[6] = 3 * (size_t)p[AT_N_FFT];
}

static size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

size_t specmask_bytes(const void *program, size_t program_bytes) {
  if (!is_program(program, program_bytes)) return 0;
  size_t counts[7], bytes = aligned(sizeof(specmask)) + 64;
  floats_of(program, counts);
  for (int i = 0; i < 7; i++) bytes += aligned(4 * counts[i]);
  return bytes;
}

specmask *specmask_create(const void *program, size_t program_bytes, void *memory) {
  if (!memory || !is_program(program, program_bytes)) return 0;
  const int32_t *p = program;
  specmask *s = memory;
  size_t counts[7];
  float **arrays[] = {&s->arena, &s->spectra, &s->mask, &s->history, &s->overlap, &s->top, &s->work};
  uintptr_t at = aligned((uintptr_t)memory + sizeof(specmask));
  floats_of(p, counts);
  for (int i = 0; i < 7; i++) {
    *arrays[i] = (float *)at;
    at += aligned(4 * counts[i]);
  }
  s->program = p;
  s->constants = (const float *)(const void *)(p + p[AT_CONSTANTS]);
  s->window_length = p[AT_WINDOW_LENGTH];
  s->hop_length = p[AT_HOP_LENGTH];
  s->n_fft = p[AT_N_FFT];
  s->bins = s->n_fft / 2 + 1;
  s->lookahead_frames = p[AT_LOOKAHEAD_FRAMES];
  specmask_set(s, float_of(p[AT_MIX]), float_of(p[AT_MAX_SUPPRESSION_DB]), float_of(p[AT_GAIN]));
  specmask_set_rate(s, p[AT_SAMPLE_RATE]);
  specmask_reset(s);
  return s;
}

void specmask_set_rate(specmask *s, int rate) {
  /* 3/4 to 15/16 of the band that both share, as TOP_BAND of highband.py */
  const int64_t model = s->program[AT_SAMPLE_RATE], shared = rate < model ? rate : model;
  s->top_first = s->top_count = 0;
  for (int k = 0; k < s->bins; k++) {
    if (8 * k * model < 3 * shared * s->n_fft || 32 * k * model > 15 * shared * s->n_fft) continue;
    if (!s->top_count++) s->top_first = k;
  }
}

void specmask_reset(specmask *s) {
  size_t counts[7];
  float *arrays[] = {s->arena, s->spectra, s->mask, s->history, s->overlap, s->top, s->work};
  floats_of(s->program, counts);
  for (int i = 0; i < 7; i++) clear(arrays[i], (int)counts[i]);
  s->frame = 0;
}
