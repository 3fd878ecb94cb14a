/* Population solver for one cell model: Rodas4 with adaptive steps, one cell per SIMD lane, lanes refilled from a queue.

   The generated part (between the markers) is one step attempt for LANES cells side by side. Every lane has its own
   time and step, so no cell waits for another, and no arithmetic mixes lanes, so no result depends on its neighbours.
   GCC's vector types carry the lanes: gcc and clang lower them to whatever the CPU has. NaN keeps its meaning
   (no -ffast-math): an error that is not a number fails the test `error <= rtol`. */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 8 };
#elif defined(__AVX__)
enum { LANES = 4 };
#else
enum { LANES = 2 };
#endif
enum { STATES = @STATES@, SCALED = @SCALED@, POTENTIAL = @POTENTIAL@ };

typedef double vec __attribute__((vector_size(LANES * sizeof(double))));
typedef int64_t ivec __attribute__((vector_size(LANES * sizeof(int64_t))));
#define INLINE static inline __attribute__((always_inline))

#define ONE ((vec){0} + 1.0)
#define VEC(x) ((x) * ONE) /* a constant becomes a vector; on a vector it is no operation */
#define SELECT(condition, a, b) select_lanes(condition, VEC(a), VEC(b))
INLINE vec select_lanes(ivec condition, vec a, vec b) { return (vec)((condition & (ivec)a) | (~condition & (ivec)b)); }

/* Elementary functions without branches. exp: x = n ln2 + r, Taylor to r^13 (4e-18 at |r| = ln2/2), ln2 in two parts so
   that r is exact. Arguments are held in the range of finite, normal results. */
INLINE vec v_exp(vec x) {
  const double log2e = 1.4426950408889634, ln2_high = 0x1.62e42fefa0000p-1, ln2_low = 0x1.cf79abc9e3b3ap-40;
  const double round = 0x1.8p52; /* adding it leaves the nearest integer in the low bits */
  const vec inside = SELECT(x < -708.0, VEC(-708.0), SELECT(x > 709.0, VEC(709.0), x));
  const vec shifted = inside * log2e + round, n = shifted - round, r = (inside - n * ln2_high) - n * ln2_low;
  vec p = VEC(1.0 / 6227020800.0);
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const vec power = (vec)(((ivec)shifted + 1023) << 52);
  return p * power; /* NaN passes through p */
}

/* log: x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m - 1)/(m + 1), to s^23. Subnormal numbers are
   lifted by 2^54, so that their bits read like any other's. */
INLINE vec v_log(vec argument) {
  const ivec subnormal = argument < 0x1p-1022;
  const vec x = SELECT(subnormal, argument * 0x1p54, argument);
  const double ln2_high = 0x1.62e42fefa0000p-1, ln2_low = 0x1.cf79abc9e3b3ap-40;
  const ivec bits = (ivec)x;
  const ivec above = bits - 0x3fe6a09e667f3bcdLL; /* sqrt(1/2) */
  const vec m = (vec)(bits - (above & (int64_t)0xfff0000000000000LL));
  /* exponent as a double: it stands in the low bits of 2^52 + 2^51 */
  const vec e = (vec)((above >> 52) + 0x4338000000000000LL) - 0x1.8p52 - SELECT(subnormal, VEC(54.0), VEC(0.0));
  const vec f = m - 1.0, s = f / (f + 2.0), z = s * s;
  vec p = VEC(1.0 / 23.0);
  p = p * z + 1.0 / 21.0;
  p = p * z + 1.0 / 19.0;
  p = p * z + 1.0 / 17.0;
  p = p * z + 1.0 / 15.0;
  p = p * z + 1.0 / 13.0;
  p = p * z + 1.0 / 11.0;
  p = p * z + 1.0 / 9.0;
  p = p * z + 1.0 / 7.0;
  p = p * z + 1.0 / 5.0;
  p = p * z + 1.0 / 3.0;
  const vec half = 0.5 * f * f; /* 2s = f - s f, and s f = half-corrected: keeps the leading f exact */
  const vec value = f - (half - s * (half + 2.0 * z * p));
  const vec result = (value + e * ln2_low) + e * ln2_high;
  return SELECT(x > 0.0, SELECT(x < INFINITY, result, x), SELECT(x == 0.0, VEC(-INFINITY), VEC(NAN)));
}

/* The others go lane by lane through the C library: correct for every model, fast enough where they are rare. */
#define LANEWISE(f) \
  INLINE vec v_##f(vec x) { \
    for (int l = 0; l < LANES; l++) x[l] = f(x[l]); \
    return x; \
  }
LANEWISE(sqrt)
LANEWISE(fabs)
LANEWISE(floor)
LANEWISE(ceil)
LANEWISE(sin)
LANEWISE(cos)
LANEWISE(tan)
LANEWISE(asin)
LANEWISE(acos)
LANEWISE(atan)
LANEWISE(log10)
INLINE vec v_pow(vec x, vec y) {
  for (int l = 0; l < LANES; l++) x[l] = pow(x[l], y[l]);
  return x;
}
INLINE vec v_ipow(vec x, int n) {
  vec result = ONE;
  for (unsigned left = n < 0 ? -n : n; left; left >>= 1, x = x * x)
    if (left & 1) result = result * x;
  return n < 0 ? 1.0 / result : result;
}

/* The running maximum of a state's relative error; NaN, once there, stays. */
INLINE vec worse(vec worst, vec difference, vec y, vec z, vec weight) {
  const vec a = v_fabs(y), b = v_fabs(z), ratio = v_fabs(difference) / (weight + SELECT(a > b, a, b));
  return SELECT((ratio <= worst) | (worst != worst), worst, ratio);
}

/* One attempt: from the states y with step h to the states z, the error estimate, and dV/dt at y. */
static void attempt(const vec *P, const vec *Y, const vec *weight, vec h, vec *Z, vec *error, vec *slope) {
  const vec ih = 1.0 / h;
  vec worst = VEC(0.0);
/*@BEGIN@*/
@BODY@
/*@END@*/
  *error = worst;
}

/* The accepted steps of one cell, and how it ended. */
enum { OK, STEP_TOO_SMALL, NOT_FINITE, TOO_MANY_STEPS, NO_MEMORY };
typedef struct {
  double *time;
  float *voltage, *slope;
  int64_t count, room, attempts;
  int64_t status;
} Steps;

typedef struct {
  const double *initial; /* (cells, states) */
  const double *inputs;  /* (cells, scaled) */
  const double *weight;  /* (states,): below this size a state's error counts absolutely */
  Steps *steps;          /* (cells,) */
  int64_t cells, max_attempts;
  double duration, rtol, max_step;
  int64_t next, done; /* shared by the threads */
  int64_t stop;
} Job;

static int record(Steps *s, double t, double v, double dv) {
  if (s->count == s->room) {
    const int64_t room = s->room ? 2 * s->room : 1024;
    double *time = realloc(s->time, room * sizeof *time);
    if (time) s->time = time;
    float *voltage = realloc(s->voltage, room * sizeof *voltage);
    if (voltage) s->voltage = voltage;
    float *slope = realloc(s->slope, room * sizeof *slope);
    if (slope) s->slope = slope;
    if (!time || !voltage || !slope) return 0;
    s->room = room;
  }
  s->time[s->count] = t;
  s->voltage[s->count] = (float)v;
  s->slope[s->count] = (float)dv;
  s->count++;
  return 1;
}

void release(Job *job) {
  for (int64_t c = 0; c < job->cells; c++) {
    free(job->steps[c].time);
    free(job->steps[c].voltage);
    free(job->steps[c].slope);
    memset(&job->steps[c], 0, sizeof job->steps[c]);
  }
}

static double *lane(vec *x, int l) { return (double *)x + l; }

/* Works the queue until it is empty; every thread calls it once on the same job. */
void run(Job *job) {
  vec P[SCALED + 1], Y[STATES], Z[STATES], weight[STATES], h = VEC(1.0), error, slope;
  int64_t cell[LANES];
  double t[LANES];
  int arrived[LANES], shrunk[LANES], active = 0;
  for (int i = 0; i < STATES; i++) weight[i] = VEC(job->weight[i]), Y[i] = VEC(job->initial[i]);
  for (int i = 0; i < SCALED; i++) P[i] = VEC(job->inputs[i]);
  for (int l = 0; l < LANES; l++) cell[l] = -1;
  for (;;) {
    for (int l = 0; l < LANES; l++)
      if (cell[l] == -1) { /* an empty lane takes the next cell */
        const int64_t c = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        if (c >= job->cells) {
          cell[l] = -2; /* idles on its last values */
          continue;
        }
        for (int i = 0; i < STATES; i++) *lane(&Y[i], l) = job->initial[c * STATES + i];
        for (int i = 0; i < SCALED; i++) *lane(&P[i], l) = job->inputs[c * SCALED + i];
        cell[l] = c, t[l] = 0, arrived[l] = 1, shrunk[l] = 0, active++;
        *lane(&h, l) = fmin(0.01, job->duration);
      }
    if (!active || __atomic_load_n(&job->stop, __ATOMIC_RELAXED)) break;
    attempt(P, Y, weight, h, Z, &error, &slope);
    for (int l = 0; l < LANES; l++) {
      if (cell[l] < 0) continue;
      Steps *s = &job->steps[cell[l]];
      int finished = 0;
      if (arrived[l]) { /* the attempt has just computed dV/dt at the point this lane arrived at */
        const double v = Y[POTENTIAL][l], dv = slope[l];
        finished = t[l] >= job->duration;
        if (fabs(v) <= FLT_MAX && fabs(dv) <= FLT_MAX) {
          if (!record(s, t[l], v, dv)) s->status = NO_MEMORY, finished = 1;
        } else { /* broken; where it is so from its initial state on, that state alone is the trace */
          s->status = NOT_FINITE, finished = 1;
          if (!s->count && !record(s, t[l], fmax(-FLT_MAX, fmin(v, FLT_MAX)), 0.0)) s->status = NO_MEMORY;
        }
        arrived[l] = 0;
      }
      if (!finished) {
        const double step = h[l], e = error[l];
        if (++s->attempts >= job->max_attempts) s->status = TOO_MANY_STEPS, finished = 1;
        double factor = 0.2; /* when the error is not a number */
        if (e == e) factor = fmin(4.0, fmax(0.2, 0.9 * sqrt(sqrt(job->rtol / fmax(e, 1e-300)))));
        if (e <= job->rtol) {
          const double left = job->duration - t[l];
          t[l] = step >= left ? job->duration : t[l] + step;
          for (int i = 0; i < STATES; i++) *lane(&Y[i], l) = Z[i][l];
          if (shrunk[l]) factor = fmin(factor, 1.0); /* no growth right after a rejection */
          arrived[l] = 1, shrunk[l] = 0;
        } else {
          shrunk[l] = 1;
          if (step * factor < 1e-13 * fmax(t[l], 1.0)) s->status = e == e && e < INFINITY ? STEP_TOO_SMALL : NOT_FINITE, finished = 1;
        }
        double next = fmin(step * factor, job->max_step);
        if (arrived[l] && t[l] < job->duration) next = fmin(next, job->duration - t[l]);
        *lane(&h, l) = next;
      }
      if (finished) {
        cell[l] = -1, active--;
        __atomic_fetch_add(&job->done, 1, __ATOMIC_RELAXED);
      }
    }
  }
}
