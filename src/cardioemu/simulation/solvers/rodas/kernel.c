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
  int arrived;  /* the states are new: the next attempt tells the derivatives there, to be recorded */
  int rejected; /* the last attempt was */
  double step, error; /* of the last accepted attempt of this segment, 0 before it */
} Lane;
enum { EMPTY = -1, IDLE = -2 };
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
static int64_t culprit(const Job *job, const vec *P, const vec *Q, const vec *Y, const vec *Z, const vec *E, int l) {
  vec F[STATES], ahead[STATES];
  for (int look = 0; look < 2; look++) {
    rates(P, Q, look ? ahead : Y, F);
    for (int i = 0; i < STATES; i++) {
      if (!(fabs(F[i][l]) <= DBL_MAX)) return i;
      ahead[i] = Y[i] + AHEAD * F[i];
    }
  }
  int64_t worst = -1;
  double largest = 0.0;
  for (int i = 0; i < STATES; i++) {
    const double error = fabs(E[i][l]) / (job->atol[i] + job->rtol * fmax(fabs(Y[i][l]), fabs(Z[i][l])));
    if (error > largest) largest = error, worst = i;
  }
  return worst;
}

/* Records the point a lane has just arrived at; at the end of its segment the next one begins, or the cell is done.
   Returns whether the attempt that was made from here counts. */
static int arrive(const Job *job, Lane *lane, Steps *s, const vec *OUT, int l, int *finished) {
  const double v = OUT[0][l], dv = OUT[1][l];
  lane->arrived = 0;
  if (!(fabs(v) <= FLT_MAX && fabs(dv) <= FLT_MAX)) { /* what is not finite is no trace, but for the initial state */
    s->status = NOT_FINITE, *finished = 1;
    if (s->count) return 0;
    vec initial[2 * CHANNELS];
    memcpy(initial, OUT, sizeof initial);
    initial[0][l] = fmax(-FLT_MAX, fmin(v, FLT_MAX)), initial[1][l] = 0.0;
    if (!record(s, lane->t, initial, l)) s->status = NO_MEMORY;
    return 0;
  }
  const double since = s->count ? lane->t - s->time[s->count - 1] : INFINITY;
  const int inside = lane->t > job->edges[lane->segment] && lane->t < job->edges[lane->segment + 1];
  if (!(inside && since < job->spacing) && !record(s, lane->t, OUT, l)) {
    s->status = NO_MEMORY, *finished = 1;
    return 0;
  }
  if (lane->t < job->edges[lane->segment + 1]) return 1;
  if (++lane->segment == job->segments) *finished = 1;
  else lane->arrived = 1; /* the same time once more, with the derivatives on the right */
  return 0;
}

/* Works the queue until it is empty; every thread calls it once on the same job. */
void run(Job *job) {
  vec P[SCALED + 1], Q[INPUTS + 1], Y[STATES], Z[STATES], E[STATES], OUT[2 * CHANNELS], h = VEC(1.0);
  vec before[STATES]; /* the states a step earlier, where a lane has arrived */
  Lane lanes[LANES];
  int active = 0;
  for (int i = 0; i < STATES; i++) Y[i] = VEC(0.0);
  for (int i = 0; i < SCALED; i++) P[i] = VEC(job->scaled[i]);
  for (int i = 0; i < INPUTS; i++) Q[i] = VEC(job->levels[i]);
  for (int l = 0; l < LANES; l++) lanes[l].cell = EMPTY;
  for (;;) {
    for (int l = 0; l < LANES; l++)
      if (lanes[l].cell == EMPTY) {
        const int64_t c = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        if (c >= job->cells) {
          lanes[l].cell = IDLE; /* goes on with its last values, unheeded */
          continue;
        }
        for (int i = 0; i < STATES; i++) *lane(&Y[i], l) = job->states[c * STATES + i];
        for (int i = 0; i < SCALED; i++) *lane(&P[i], l) = job->scaled[c * SCALED + i];
        for (int i = 0; i < INPUTS; i++) *lane(&Q[i], l) = job->levels[i];
        lanes[l] = (Lane){.cell = c, .arrived = 1}, active++;
        *lane(&h, l) = fmin(job->first_step, job->edges[1]);
      }
    if (!active || __atomic_load_n(&job->stop, __ATOMIC_RELAXED)) break;

    attempt(P, Q, Y, h, Z, E, OUT);
    vec error = VEC(0.0); /* the largest, in units of the tolerance; NaN, once there, stays */
    for (int i = 0; i < STATES; i++) {
      const vec ratio = v_fabs(E[i]) / (job->atol[i] + job->rtol * v_max(v_fabs(Y[i]), v_fabs(Z[i])));
      error = SELECT((ratio <= error) | (error != error), error, ratio);
    }
    /* The usual factor of the next step. Gustafsson's, below, foresees the next error from the last two (Hairer and
       Wanner, section IV.8), and the smaller one counts. */
    const vec grown = 0.9 / v_sqrt(v_sqrt(SELECT(error > 1e-300, error, VEC(1e-300))));

    ivec accepted = {0};
    for (int l = 0; l < LANES; l++) {
      if (lanes[l].cell < 0) continue;
      Lane *this = &lanes[l];
      Steps *s = &job->steps[this->cell];
      const vec *last = Y;
      int finished = 0;
      if (this->arrived && !arrive(job, this, s, OUT, l, &finished)) {
        if (s->status && this->t > 0.0) last = before;
        if (!finished) { /* a new segment, whose derivatives may be quite others */
          for (int i = 0; i < INPUTS; i++) *lane(&Q[i], l) = job->levels[this->segment * INPUTS + i];
          *lane(&h, l) = fmin(fmin(h[l], job->first_step), job->edges[this->segment + 1] - this->t);
          this->step = 0.0;
        }
      } else {
        const double step = h[l], e = error[l], end = job->edges[this->segment + 1];
        double factor = e == e ? grown[l] : 0.0;
        /* The shortest step that time can tell: a jump of the derivatives inside it leaves an error, but a small one. */
        const double shortest = 16 * DBL_EPSILON * fmax(this->t, 1.0);
        if (++s->attempts > job->max_attempts) {
          s->status = TOO_MANY_STEPS;
        } else if (e <= 1.0 || (step <= shortest && e * job->rtol <= LOOSEST)) {
          if (this->rejected) factor = fmin(factor, 1.0); /* no growth right after a rejection */
          if (this->step > 0) factor = fmin(factor, grown[l] * sqrt(sqrt(this->error / e)) * step / this->step);
          this->step = step, this->error = fmax(e, 0.01);
          this->t = step >= end - this->t ? end : this->t + step;
          this->arrived = 1, this->rejected = 0;
          accepted[l] = -1;
        } else {
          this->rejected = 1;
          if (step <= shortest) s->status = e <= DBL_MAX ? STEP_TOO_SMALL : NOT_FINITE;
        }
        if (s->status) {
          finished = 1;
          if (s->time[s->count - 1] < this->t) record(s, this->t, OUT, l);
        }
        factor = fmin(4.0, fmax(0.2, factor));
        double next = fmin(fmax(step * factor, shortest), job->max_step);
        const double left = end - this->t;
        if (this->arrived && left > 0.0) next = next >= left ? left : fmin(next, left / 2); /* no crumb at the end */
        *lane(&h, l) = next;
      }
      if (finished) {
        if (s->status) s->culprit = culprit(job, P, Q, Y, Z, E, l);
        for (int i = 0; i < STATES; i++) job->states[this->cell * STATES + i] = last[i][l];
        resize(s, s->count); /* gives back what it did not need */
        const int64_t place = __atomic_fetch_add(&job->done, 1, __ATOMIC_RELAXED);
        __atomic_store_n(&job->finished[place], this->cell, __ATOMIC_RELEASE);
        this->cell = EMPTY, active--;
      }
    }
    for (int i = 0; i < STATES; i++) before[i] = Y[i], Y[i] = SELECT(accepted, Z[i], Y[i]);
  }
}

void release(Steps *steps, int64_t count) {
  for (int64_t c = 0; c < count; c++) {
    free(steps[c].time);
    free(steps[c].channels);
    steps[c].time = NULL, steps[c].channels = NULL;
  }
}
