/* Polyphase filter of resample.js: half of the page's arithmetic, hence compiled into specmask.wasm. */

#ifdef __wasm_simd128__
#include <wasm_simd128.h>

static float dot(const float *taps, const float *x, int count) {
    v128_t a = wasm_f32x4_splat(0), b = a;
    int n = 0;
    for (; n + 8 <= count; n += 8) {
        a = wasm_f32x4_add(a, wasm_f32x4_mul(wasm_v128_load(taps + n), wasm_v128_load(x + n)));
        b = wasm_f32x4_add(b, wasm_f32x4_mul(wasm_v128_load(taps + n + 4), wasm_v128_load(x + n + 4)));
    }
    if (n < count)
        a = wasm_f32x4_add(a, wasm_f32x4_mul(wasm_v128_load(taps + n), wasm_v128_load(x + n)));
    a = wasm_f32x4_add(a, b);
    return wasm_f32x4_extract_lane(a, 0) + wasm_f32x4_extract_lane(a, 1)
        + (wasm_f32x4_extract_lane(a, 2) + wasm_f32x4_extract_lane(a, 3));
}
#else
static float dot(const float *taps, const float *x, int count) {
    float a = 0, b = 0, c = 0, d = 0;
    for (int n = 0; n < count; n += 4) {
        a += taps[n] * x[n];
        b += taps[n + 1] * x[n + 1];
        c += taps[n + 2] * x[n + 2];
        d += taps[n + 3] * x[n + 3];
    }
    return a + b + (c + d);
}
#endif

/* y[k] for k < count: taps (4 n) of phase (phase + k down) % up, x from (phase + k down) / up on. */
__attribute__((export_name("resample")))
void resample(const float *x, float *y, int count, const float *table, int taps, int up, int down, int phase) {
    for (int k = 0; k < count; k++) {
        y[k] = dot(table + (long)phase * taps, x, taps);
        phase += down;
        x += phase / up;
        phase %= up;
    }
}
