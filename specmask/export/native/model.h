/* The model: a program for specmask_create. */

#ifndef SPECMASK_MODEL_H
#define SPECMASK_MODEL_H

#include <stddef.h>
#include <stdint.h>

extern const uint32_t specmask_program[];
extern const size_t specmask_program_bytes;

#endif
