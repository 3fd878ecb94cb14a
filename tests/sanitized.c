/* A program around the generated kernel, for sanitizers: reads a problem from a file, into arrays of exactly its size,
   works it with threads and writes how every cell ended. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef ROOM
static void *scarce(void *old, size_t size) { return size > ROOM ? NULL : realloc(old, size); }
#define realloc scarce
#endif
#include "kernel.c"

static void *array(FILE *file, int64_t count) {
  void *values = malloc(count * 8);
  if (fread(values, 8, count, file) != (size_t)count) abort();
  return values;
}

static void *work(void *job) {
  run(job);
  return NULL;
}

int main(int count, char **arguments) {
  FILE *file = count == 2 ? fopen(arguments[1], "rb") : NULL;
  if (!file) return 2;
  int64_t *sizes = array(file, 4); /* cells, segments, attempts, threads */
  double *settings = array(file, 4);
  Job job = {.cells = sizes[0], .segments = sizes[1], .max_attempts = sizes[2]};
  job.rtol = settings[0], job.first_step = settings[1], job.max_step = settings[2], job.spacing = settings[3];
  double *states = array(file, job.cells * STATES), *scaled = array(file, job.cells * SCALED);
  double *atol = array(file, STATES), *edges = array(file, job.segments + 1);
  double *levels = array(file, job.segments * INPUTS);
  job.states = states, job.scaled = scaled, job.atol = atol, job.edges = edges, job.levels = levels;
  job.steps = calloc(job.cells, sizeof *job.steps), job.finished = malloc(job.cells * sizeof *job.finished);
  memset(job.finished, -1, job.cells * sizeof *job.finished);
  fclose(file);

  pthread_t threads[16];
  for (int i = 0; i < sizes[3]; i++) pthread_create(&threads[i], NULL, work, &job);
  for (int i = 0; i < sizes[3]; i++) pthread_join(threads[i], NULL);
  for (int64_t c = 0; c < job.cells; c++) {
    const Steps *s = &job.steps[c];
    printf("%d %d", (int)s->status, (int)s->culprit);
    printf(" %.17g %.9g", s->count ? s->time[s->count - 1] : -1, s->count ? s->channels[(s->count - 1) * 2 * CHANNELS] : 0);
    for (int i = 0; i < STATES; i++) printf(" %.17g", states[c * STATES + i]);
    printf("\n");
  }
  release(job.steps, job.cells);
  void *owned[] = {sizes, settings, states, scaled, atol, edges, levels, job.steps, job.finished};
  for (int i = 0; i < (int)(sizeof owned / sizeof *owned); i++) free(owned[i]);
  return 0;
}
