/* Specmask: a trained speech enhancer in C.

   A program (model.bin, or the array of model.c) holds the transform, the network and its weights.
   A handle runs it on one channel of mono samples, float32, full scale 1, at the program's rate:

       void *memory = malloc(specmask_bytes(program, program_bytes));
       specmask *s = specmask_create(program, program_bytes, memory);
       specmask_process(s, noisy, enhanced, hops);

   No function allocates memory, and none but specmask_create may fail. Handles share nothing but the
   program, which they only read. Two threads may run two handles, not one.

   Several channels: a handle each. With one mask for all of them (as `channels = linked` of
   enhance.py, which keeps the stereo image), a hop is

       specmask_analyse(left, noisy_left);  specmask_analyse(right, noisy_right);
       specmask_link(handles, 2);
       specmask_synthesise(left, enhanced_left, 0);  specmask_synthesise(right, enhanced_right, 0);
*/

#ifndef SPECMASK_H
#define SPECMASK_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct specmask specmask;

/* Bytes of memory that a handle needs; 0 if the program is damaged or of a newer version. A program
   is aligned to 4 bytes. */
size_t specmask_bytes(const void *program, size_t program_bytes);

/* A handle in memory of the caller's, aligned to 8 bytes; it lives as long as that memory and the
   program. Null if the program is damaged or of a newer version. */
specmask *specmask_create(const void *program, size_t program_bytes, void *memory);

int specmask_sample_rate(const specmask *s); /* Hz */
int specmask_hop_length(const specmask *s);  /* samples */
int specmask_latency(const specmask *s);     /* samples by which the output is late */
int specmask_bins(const specmask *s);        /* of a spectrum and of a mask */

/* Post-processing. mix: share of the enhanced sound, 0 to 1. max_suppression_db: attenuation limit
   of every bin, 0 to 200. gain: factor on the result. A new handle has those of the program. */
void specmask_set(specmask *s, float mix, float max_suppression_db, float gain);

/* The settings of a handle. */
float specmask_mix(const specmask *s);
float specmask_max_suppression_db(const specmask *s);
float specmask_gain(const specmask *s);

/* Enhance hops * hop_length samples; both arrays may be the same. Samples that are NaN or infinite
   count as zero. At the end of a recording, feed latency zeros (up to a whole hop), and drop as many
   samples in front: then the output is aligned to the input. */
void specmask_process(specmask *s, const float *noisy, float *enhanced, int hops);

/* Go back to the start of a recording. The settings stay. */
void specmask_reset(specmask *s);

/* ---- The parts of specmask_process, for several channels and for sound above the model's band */

/* Take hop_length samples and find the mask of the frame that is due. */
void specmask_analyse(specmask *s, const float *noisy);

/* Give all handles the mean of their masks, weighted by the power of their frames. */
void specmask_link(specmask *const *handles, int count);

/* Hz of the recording, for top_gain below; of a new handle, the program's. */
void specmask_set_rate(specmask *s, int rate);

/* Apply the mask and return hop_length samples. With top_gain, also the gain of what is above the
   model's band, less 1, for each of them: the smoothed gain of the mask's highest bins, so that a
   caller who has resampled x to x' keeps that band by adding (1 + top_gain) * (x - x'). */
void specmask_synthesise(specmask *s, float *enhanced, float *top_gain);

/* The network alone: the mask [bins][2] for a spectrum [bins][2] (real, imaginary), and the next
   state. The mask is that of the frame lookahead frames before. */
void specmask_step(specmask *s, const float *spectrum, float *mask);

#ifdef __cplusplus
}
#endif

#endif
