/* Population solver for one cell model: Rodas4 with adaptive steps, one cell per SIMD lane, lanes refilled from a queue.

   What depends on the model is generated where a name stands between two @. Every lane has its own time and step, so no
   cell waits for another, and no arithmetic mixes lanes, so no result depends on its neighbours. NaN keeps its meaning
   (no -ffast-math): an error that is not a number fails the test `error <= 1`. */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "vector.h"

enum { STATES = @STATES@, SCALED = @SCALED@, INPUTS = @INPUTS@, CHANNELS = @CHANNELS@, ENTRIES = @ENTRIES@ };

/* The model. Calls, not copies: the instructions of one evaluation fill the instruction cache. */
#define CALLED static __attribute__((noinline)) void

/* A partial derivative that is not finite counts as 0: that of 1/(1 + exp(u)) is inf/inf where exp(u) is huge. */
#define FINITE(x) finite_lanes(VEC(x))
INLINE vec finite_lanes(vec x) { return (vec)((ivec)x & (x - x == 0.0)); }

/* F: the rates of the states Y, with the scaled constants P and the inputs Q. */
CALLED rates(const vec *P, const vec *Q, const vec *Y, vec *F) {
@RATES@
}

/* The same, and J: minus the Jacobian, diagonal first; OUT: value and rate of every recorded channel, V first. */
CALLED linearise(const vec *P, const vec *Q, const vec *Y, vec *F, vec *J, vec *OUT) {
@LINEARISE@
}

/* Factors of the matrix J in its place. */
CALLED factorise(vec *J) {
@FACTORISE@
}

/* Replaces the right-hand side X of the factorised system by its solution. */
CALLED solve(const vec *J, vec *X) {
@SOLVE@
}

/* One attempt of Rodas4 with step h from the states Y: the states Z after it, and the error estimate E of each.

   E. Hairer and G. Wanner, Solving Ordinary Differential Equations II (2nd ed.), section IV.7: a stiffly accurate
   Rosenbrock method of order 4(3) with six stages and gamma = 1/4, in the form without products of matrix and vector.
   The coefficients are the published ones; they satisfy the order conditions to 1e-9, so no tolerance leads below. */
static void attempt(const vec *P, const vec *Q, const vec *Y, vec h, vec *Z, vec *E, vec *OUT) {
  const vec ih = 1.0 / h;
  vec J[ENTRIES], A[STATES], B[STATES], C[STATES], D[STATES], G[STATES], F[STATES];
  linearise(P, Q, Y, A, J, OUT);
  for (int i = 0; i < STATES; i++) J[i] += 4.0 * ih;
  factorise(J);
  solve(J, A);

  for (int i = 0; i < STATES; i++) Z[i] = Y[i] + 1.544 * A[i];
  rates(P, Q, Z, F);
  for (int i = 0; i < STATES; i++) B[i] = F[i] - ih * (5.6688 * A[i]);
  solve(J, B);

  for (int i = 0; i < STATES; i++) Z[i] = Y[i] + 0.9466785280815826 * A[i] + 0.2557011698983284 * B[i];
  rates(P, Q, Z, F);
  for (int i = 0; i < STATES; i++) C[i] = F[i] - ih * (2.430093356833875 * A[i] + 0.2063599157091915 * B[i]);
  solve(J, C);

  for (int i = 0; i < STATES; i++)
    Z[i] = Y[i] + 3.314825187068521 * A[i] + 2.896124015972201 * B[i] + 0.9986419139977817 * C[i];
  rates(P, Q, Z, F);
  for (int i = 0; i < STATES; i++)
    D[i] = F[i] - ih * (0.1073529058151375 * A[i] + 9.594562251023355 * B[i] + 20.47028614809616 * C[i]);
  solve(J, D);

  for (int i = 0; i < STATES; i++)
    Z[i] = Y[i] + 1.221224509226641 * A[i] + 6.019134481288629 * B[i] + 12.53708333932087 * C[i] -
           0.6878860361058950 * D[i];
  rates(P, Q, Z, F);
  for (int i = 0; i < STATES; i++)
    G[i] = F[i] + ih * (7.496443313967647 * A[i] - 10.24680431464352 * B[i] - 33.99990352819905 * C[i] +
                        11.70890893206160 * D[i]);
  solve(J, G);

  for (int i = 0; i < STATES; i++) Z[i] += G[i];
  rates(P, Q, Z, F);
  for (int i = 0; i < STATES; i++)
    E[i] = F[i] + ih * (8.083246795921522 * A[i] - 7.981132988064893 * B[i] - 31.52159432874371 * C[i] +
                        16.31930543123136 * D[i] - 6.058818238834054 * G[i]);
  solve(J, E);
  for (int i = 0; i < STATES; i++) Z[i] += E[i];
}

/* The accepted steps of one cell, and how it ended. */
enum { OK, STEP_TOO_SMALL, NOT_FINITE, TOO_MANY_STEPS, NO_MEMORY };
typedef struct {
  double *time;
  float *channels; /* (count, CHANNELS, 2): value and time derivative */
  int64_t count, room, attempts;
  int64_t status, culprit; /* the state that failed, -1 where it is none of them */
} Steps;

typedef struct {
  double *states;       /* (cells, STATES): initial ones, replaced by the last ones */
  const double *scaled; /* (cells, SCALED) */
  const double *atol;   /* (STATES,) */
  const double *edges;  /* (segments + 1,): where the inputs change, from 0 to the duration */
  const double *levels; /* (segments, INPUTS) */
  Steps *steps;         /* (cells,) */
  int64_t *finished;    /* (cells,): the cells in the order in which they end, -1 where none has yet */
  int64_t cells, segments, max_attempts;
  double rtol, first_step, max_step;
  double spacing; /* points nearer than this to the one before are not recorded, but for the ends of segments */
  int64_t next, done; /* shared by the threads */
  int64_t stop;
} Job;

/* One lane: which cell it integrates, where it is, and what the step control remembers. */
typedef struct {
  int64_t cell; /* EMPTY: takes the next one; IDLE: there is none left */
  int64_t segment;
  double t;
  int arrived;        /* the states are new: the next attempt tells the derivatives there, to be recorded */
  int rejected;       /* the last attempt was */
  double step, error; /* of the last accepted attempt of this segment, 0 before it */
} Lane;
enum { EMPTY = -1, IDLE = -2 };

/* All lanes of one thread. */
typedef struct {
  vec P[SCALED + 1], Q[INPUTS + 1], Y[STATES], Z[STATES], E[STATES], OUT[2 * CHANNELS];
  vec before[STATES]; /* the states a step earlier, where a lane has arrived */
  vec h, error;       /* of the attempt; the error in units of the tolerance */
  Lane lane[LANES];
  int active;
} Front;

static const double LOOSEST = 1e-3; /* relative error */
static const double AHEAD = 1e-6;   /* how far beyond the last step a cause of its failure is looked for */

static double *lane(vec *x, int l) { return (double *)x + l; }

static int resize(Steps *s, int64_t room) {
  double *time = realloc(s->time, room * sizeof *time);
  if (time) s->time = time;
  float *channels = realloc(s->channels, room * 2 * CHANNELS * sizeof *channels);
  if (channels) s->channels = channels;
  if (time && channels) s->room = room;
  return time && channels;
}

static int record(Steps *s, double t, const vec *OUT, int l) {
  if (s->count == s->room && !resize(s, s->room ? s->room + s->room / 2 : 256)) return 0;
  s->time[s->count] = t;
  for (int i = 0; i < 2 * CHANNELS; i++) s->channels[s->count * 2 * CHANNELS + i] = (float)OUT[i][l];
  s->count++;
  return 1;
}

/* The state of lane l whose rate is not finite, here or just ahead, or else that with the largest error. */
static int64_t culprit(const Job *job, const Front *f, int l) {
  vec F[STATES], ahead[STATES];
  for (int look = 0; look < 2; look++) {
    rates(f->P, f->Q, look ? ahead : f->Y, F);
    for (int i = 0; i < STATES; i++) {
      if (!(fabs(F[i][l]) <= DBL_MAX)) return i;
      ahead[i] = f->Y[i] + AHEAD * F[i];
    }
  }
  int64_t worst = -1;
  double largest = 0.0;
  for (int i = 0; i < STATES; i++) {
    const double size = fmax(fabs(f->Y[i][l]), fabs(f->Z[i][l]));
    const double error = fabs(f->E[i][l]) / (job->atol[i] + job->rtol * size);
    if (error > largest) largest = error, worst = i;
  }
  return worst;
}

/* Puts the next cell of the queue into lane l, if there is one. */
static void take(Job *job, Front *f, int l) {
  const int64_t c = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
  f->lane[l] = (Lane){.cell = c < job->cells ? c : IDLE, .arrived = 1};
  if (c >= job->cells) return; /* goes on with its last values, unheeded */
  for (int i = 0; i < STATES; i++) *lane(&f->Y[i], l) = job->states[c * STATES + i];
  for (int i = 0; i < SCALED; i++) *lane(&f->P[i], l) = job->scaled[c * SCALED + i];
  for (int i = 0; i < INPUTS; i++) *lane(&f->Q[i], l) = job->levels[i];
  *lane(&f->h, l) = fmin(job->first_step, job->edges[1]);
  f->active++;
}

/* Hands the cell of lane l back, with the states it has come to. */
static void finish(Job *job, Front *f, int l, const vec *last) {
  const int64_t c = f->lane[l].cell;
  Steps *s = &job->steps[c];
  if (s->status) s->culprit = culprit(job, f, l);
  for (int i = 0; i < STATES; i++) job->states[c * STATES + i] = last[i][l];
  if (s->count) resize(s, s->count); /* gives back what it did not need */
  const int64_t place = __atomic_fetch_add(&job->done, 1, __ATOMIC_RELAXED);
  __atomic_store_n(&job->finished[place], c, __ATOMIC_RELEASE);
  f->lane[l].cell = EMPTY, f->active--;
}

/* Records the point lane l has just arrived at. At the end of its segment the next one begins, or the cell is done.
   Returns whether the attempt that was made from here counts. */
static int arrive(Job *job, Front *f, int l) {
  Lane *this = &f->lane[l];
  Steps *s = &job->steps[this->cell];
  const double v = f->OUT[0][l], dv = f->OUT[1][l];
  const double since = s->count ? this->t - s->time[s->count - 1] : INFINITY;
  const int inside = this->t > job->edges[this->segment] && this->t < job->edges[this->segment + 1];
  this->arrived = 0;
  if (!(fabs(v) <= FLT_MAX && fabs(dv) <= FLT_MAX)) { /* what is not finite is no trace, but for the initial state */
    s->status = NOT_FINITE;
    *lane(&f->OUT[0], l) = fmax(-FLT_MAX, fmin(v, FLT_MAX)), *lane(&f->OUT[1], l) = 0.0;
    if (!s->count && !record(s, this->t, f->OUT, l)) s->status = NO_MEMORY;
  } else if (!(inside && since < job->spacing) && !record(s, this->t, f->OUT, l)) {
    s->status = NO_MEMORY;
  }
  if (s->status) {
    finish(job, f, l, this->t > 0.0 ? f->before : f->Y);
    return 0;
  }
  if (this->t < job->edges[this->segment + 1]) return 1;
  if (++this->segment == job->segments) {
    finish(job, f, l, f->Y);
    return 0;
  }
  /* The same time once more, with the derivatives on the right, which may be quite others. */
  for (int i = 0; i < INPUTS; i++) *lane(&f->Q[i], l) = job->levels[this->segment * INPUTS + i];
  *lane(&f->h, l) = fmin(fmin(f->h[l], job->first_step), job->edges[this->segment + 1] - this->t);
  this->arrived = 1, this->step = 0.0;
  return 0;
}

/* Takes or rejects the attempt of lane l and chooses its next step: the usual factor `grown`, or Gustafsson's, which
   foresees the next error from the last two, if that is smaller (Hairer and Wanner, section IV.8). */
static int accept(Job *job, Front *f, int l, double grown) {
  Lane *this = &f->lane[l];
  Steps *s = &job->steps[this->cell];
  const double step = f->h[l], e = f->error[l], end = job->edges[this->segment + 1];
  /* The shortest step that time can tell: a jump of the derivatives inside it leaves an error, but a small one. */
  const double shortest = 16 * DBL_EPSILON * fmax(this->t, 1.0);
  const int accepted = e <= 1.0 || (step <= shortest && e * job->rtol <= LOOSEST);
  double factor = e == e ? grown : 0.0;
  if (++s->attempts > job->max_attempts) {
    s->status = TOO_MANY_STEPS;
  } else if (accepted) {
    if (this->rejected) factor = fmin(factor, 1.0); /* no growth right after a rejection */
    if (this->step > 0) factor = fmin(factor, grown * sqrt(sqrt(this->error / e)) * step / this->step);
    this->step = step, this->error = fmax(e, 0.01);
    this->t = step >= end - this->t ? end : this->t + step;
  } else if (step <= shortest) {
    s->status = e <= DBL_MAX ? STEP_TOO_SMALL : NOT_FINITE;
  }
  if (s->status) {
    if (s->time[s->count - 1] < this->t) record(s, this->t, f->OUT, l);
    finish(job, f, l, f->Y);
    return 0;
  }
  this->arrived = accepted, this->rejected = !accepted;
  factor = fmin(4.0, fmax(0.2, factor));
  double next = fmin(fmax(step * factor, shortest), job->max_step);
  const double left = end - this->t;
  if (accepted && left > 0.0) next = next >= left ? left : fmin(next, left / 2); /* no crumb at the end */
  *lane(&f->h, l) = next;
  return accepted;
}

/* Works the queue until it is empty; every thread calls it once on the same job. */
void run(Job *job) {
  Front f = {.h = VEC(1.0)};
  for (int i = 0; i < SCALED; i++) f.P[i] = VEC(job->scaled[i]);
  for (int i = 0; i < INPUTS; i++) f.Q[i] = VEC(job->levels[i]);
  for (int l = 0; l < LANES; l++) f.lane[l].cell = EMPTY;
  for (;;) {
    for (int l = 0; l < LANES; l++)
      if (f.lane[l].cell == EMPTY) take(job, &f, l);
    if (!f.active || __atomic_load_n(&job->stop, __ATOMIC_RELAXED)) break;

    attempt(f.P, f.Q, f.Y, f.h, f.Z, f.E, f.OUT);
    f.error = VEC(0.0); /* the largest; NaN, once there, stays */
    for (int i = 0; i < STATES; i++) {
      const vec ratio = v_fabs(f.E[i]) / (job->atol[i] + job->rtol * v_max(v_fabs(f.Y[i]), v_fabs(f.Z[i])));
      f.error = SELECT((ratio <= f.error) | (f.error != f.error), f.error, ratio);
    }
    const vec grown = 0.8 / v_sqrt(v_sqrt(v_max(f.error, VEC(1e-300))));
    ivec accepted = {0};
    for (int l = 0; l < LANES; l++)
      if (f.lane[l].cell >= 0 && (!f.lane[l].arrived || arrive(job, &f, l))) accepted[l] = -accept(job, &f, l, grown[l]);
    for (int i = 0; i < STATES; i++) f.before[i] = f.Y[i], f.Y[i] = SELECT(accepted, f.Z[i], f.Y[i]);
  }
}

void release(Steps *steps, int64_t count) {
  for (int64_t c = 0; c < count; c++) {
    free(steps[c].time);
    free(steps[c].channels);
    steps[c].time = NULL, steps[c].channels = NULL;
  }
}
