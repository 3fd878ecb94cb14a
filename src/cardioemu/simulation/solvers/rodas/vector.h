/* SIMD vectors of doubles, one cell per lane, and the elementary functions on them: branch-free, no arithmetic across
   lanes, no -ffast-math. GCC's vector types carry the lanes: gcc and clang lower them to whatever the CPU has.

   Largest errors found, with fused multiply-adds and without: exp 0.92 and 1.19 ulp, log 1.15 and 1.25, log10 0.51,
   expm1 1.4, pow 1.1. Polynomials are minimax fits, coefficients rounded one by one. Where a product must be exact, its
   factors lose their low bits (`high`): two numbers of 26 bits have an exact product, fused with a sum or not. */
#include <float.h>
#include <math.h>
#include <stdint.h>

#ifndef LANES
#if defined(__AVX512F__)
#define LANES 8
#elif defined(__AVX__)
#define LANES 4
#elif defined(__SSE2__) || defined(__aarch64__)
#define LANES 2
#else
#define LANES 1
#endif
#endif

typedef double vec __attribute__((vector_size(LANES * sizeof(double))));
typedef int64_t ivec __attribute__((vector_size(LANES * sizeof(int64_t))));
typedef uint64_t uvec __attribute__((vector_size(LANES * sizeof(uint64_t)))); /* wraps where ivec may not */
#define INLINE static inline __attribute__((always_inline))
/* An attempt calls exp hundreds of times: inlined, it would be more code than the instruction cache holds. gcc knows
   which registers a static function leaves alone and calls it cheaply; clang would save them all. */
#ifdef __clang__
#define FUNCTION INLINE
#else
#define FUNCTION static __attribute__((noinline))
#endif

#define ONE ((vec){0} + 1.0)
#define VEC(x) ((x) * ONE) /* a constant becomes a vector; on a vector it is no operation */
#define SELECT(condition, a, b) select_lanes(condition, VEC(a), VEC(b))
INLINE vec select_lanes(ivec condition, vec a, vec b) { return (vec)((condition & (ivec)a) | (~condition & (ivec)b)); }
#define SIGN INT64_MIN

/* v_min and v_max give b where a or b is NaN. gcc has no portable form that becomes their one instruction, and before
   version 12 none for sqrt. */
#if defined(__AVX512F__) && LANES == 8
#include <immintrin.h>
#define X86(f, ...) ((vec)_mm512_##f##_pd(__VA_ARGS__))
#elif defined(__AVX__) && LANES == 4
#include <immintrin.h>
#define X86(f, ...) ((vec)_mm256_##f##_pd(__VA_ARGS__))
#elif defined(__SSE2__) && LANES == 2
#include <emmintrin.h>
#define X86(f, ...) ((vec)_mm_##f##_pd(__VA_ARGS__))
#endif
#ifdef X86
INLINE vec v_min(vec a, vec b) { return X86(min, a, b); }
INLINE vec v_max(vec a, vec b) { return X86(max, a, b); }
INLINE vec v_sqrt(vec x) { return X86(sqrt, x); }
#else
INLINE vec v_min(vec a, vec b) { return SELECT(a < b, a, b); }
INLINE vec v_max(vec a, vec b) { return SELECT(a > b, a, b); }
INLINE vec v_sqrt(vec x) {
  for (int l = 0; l < LANES; l++) x[l] = sqrt(x[l]);
  return x;
}
#endif

INLINE vec v_fabs(vec x) { return (vec)((ivec)x & ~SIGN); }
INLINE vec high(vec x) { return (vec)((ivec)x & -0x8000000); } /* the first 26 bits */

/* Below 2^52, adding and subtracting 2^52 rounds to an integer; beyond, every number is one. */
INLINE vec nearest(vec size) { return (size + 0x1p52) - 0x1p52; }
INLINE vec v_floor(vec x) {
  const vec rounded = (vec)((ivec)nearest(v_fabs(x)) | ((ivec)x & SIGN)); /* -0.0 keeps its sign */
  return SELECT(v_fabs(x) < 0x1p52, rounded - SELECT(rounded > x, 1.0, 0.0), x);
}
INLINE vec v_ceil(vec x) { return -v_floor(-x); }

/* exp: x = n ln2 + r with |r| <= ln2/2, ln2 in two parts so that n times the first is exact. */
#define LN2_HIGH 0x1.62e42fefa0000p-1
#define LN2_LOW 0x1.cf79abc9e3b3ap-40
#define ROUND (0x1.8p52 + 1023) /* adding it leaves the nearest integer, as an exponent's bits, in the low bits */
INLINE vec exp_steps(vec x) { return x * 1.4426950408889634 + ROUND; }

/* q(r) = (e^r - 1 - r) / r^2, such that e^r is right to 5.4e-18. Even and odd powers side by side take half as long as
   one after the other. */
INLINE vec exp_tail(vec r) {
  const vec z = r * r;
  vec even = VEC(2.762518096067592e-07), odd = VEC(2.4978149845032386e-08);
  even = even * z + 2.4801508695114137e-05, odd = odd * z + 2.7557641588812308e-06;
  even = even * z + 0.0013888888926788267, odd = odd * z + 0.00019841269465386207;
  even = even * z + 0.04166666666660397, odd = odd * z + 0.008333333333500453;
  even = even * z + 0.5, odd = odd * z + 0.16666666666666433;
  return odd * r + even;
}

/* Arguments are held within -708 and 709, so that results are finite and normal: a quotient of two, such as a sigmoid's
   derivative e^x / (1 + e^x)^2, does not become inf / inf. */
INLINE vec exp_range(vec x) { return v_max(VEC(-708.0), v_min(VEC(709.0), x)); }

FUNCTION vec v_exp(vec argument) {
  const vec x = exp_range(argument), shifted = exp_steps(x), n = shifted - ROUND;
  const vec r = (x - n * LN2_HIGH) - n * LN2_LOW;
  const vec power = (vec)((uvec)shifted << 52);
  return ((exp_tail(r) * r + 1.0) * r + 1.0) * power; /* NaN passes through r */
}

/* e^x - 1 = (2^n - 1) + 2^n (e^r - 1): nothing is lost near 0, where n = 0. Where the first sum is smaller than its
   terms, the rounding error of r counts. */
FUNCTION vec v_expm1(vec argument) {
  const vec x = exp_range(argument), shifted = exp_steps(x), n = shifted - ROUND;
  const vec rest = x - n * LN2_HIGH, r = rest - n * LN2_LOW, r_low = (rest - r) - n * LN2_LOW;
  const vec power = (vec)((uvec)shifted << 52);
  return ((power - 1.0) + power * r) + power * (r * r * exp_tail(r) + r_low);
}

/* x = 2^e m with m in [sqrt(1/2), sqrt(2)), for x > 0. Subnormal numbers are lifted by 2^54, so that their bits read
   like any other's. */
INLINE vec mantissa(vec argument, vec *e) {
  const ivec subnormal = argument < 0x1p-1022;
  const vec x = SELECT(subnormal, argument * 0x1p54, argument);
  const ivec above = (ivec)((uvec)x - 0x3fe6a09e667f3bcd); /* the bits of sqrt(1/2) */
  /* the exponent as a double: it stands in the low bits of 2^52 + 2^51 */
  *e = (vec)((above >> 52) + 0x4338000000000000) - 0x1.8p52 - SELECT(subnormal, 54.0, 0.0);
  return (vec)((uvec)x - (uvec)(above & -0x10000000000000));
}

/* The logarithm `value` of finite x > 0; of others, what C says. */
INLINE vec log_special(vec x, vec value) {
  return SELECT(x > 0.0, SELECT(x < INFINITY, value, x), SELECT(x == 0.0, -INFINITY, NAN));
}

/* log m = 2 atanh(s), s = (m - 1)/(m + 1), p(s^2) = (atanh(s)/s - 1)/s^2, such that log m is right to 1.2e-18. */
FUNCTION vec v_log(vec x) {
  vec e;
  const vec f = mantissa(x, &e) - 1.0, s = f / (f + 2.0), z = s * s, z2 = z * z;
  vec even = VEC(0.07397878348965413), odd = VEC(0.07657037226240314);
  even = even * z2 + 0.09091781589378709, odd = odd * z2 + 0.11111099300159392;
  even = even * z2 + 0.14285714371029337, odd = odd * z2 + 0.19999999999708287;
  even = even * z2 + 0.3333333333333367;
  const vec p = odd * z + even, half = 0.5 * f * f; /* 2s = f - s f, and s f = f^2/2 - s f^2/2: f stays exact */
  return log_special(x, ((f - (half - s * (half + 2.0 * z * p))) + e * LN2_LOW) + e * LN2_HIGH);
}

/* log x of finite x > 0, right to 2^-64, as a number of 26 bits and a small rest.
   log m = (2/3) s (3 + z + z^2 t(z)) with s as above and z = s^2. Both s and the last factor stand in two parts, so
   that all products that matter are exact. (2/3) s has 24 bits in its high part: 3/2 of it, that of s, has 26. */
INLINE vec log_parts(vec x, vec *low) {
  vec e;
  const vec m = mantissa(x, &e), f = m - 1.0, inverse = 1.0 / (m + 1.0);
  const vec d_high = high(m + 1.0), d_low = m - (d_high - 1.0);
  const vec third_high = (vec)((ivec)(f * inverse * (2.0 / 3.0)) & -0x20000000), s_high = 1.5 * third_high;
  const vec s_low = ((f - s_high * d_high) - s_high * d_low) * inverse, third_low = s_low * (2.0 / 3.0);
  const vec z_high = s_high * s_high, z_low = s_low * (2.0 * s_high + s_low), z = z_high + z_low;
  vec t = VEC(0.19795030125860275);
  t = t * z + 0.19885166134929624;
  t = t * z + 0.230801387355732;
  t = t * z + 0.27272676487349135;
  t = t * z + 0.3333333378066472;
  t = t * z + 0.42857142855144587;
  t = t * z + 0.600000000000034;
  const vec rest = z_low + z * z * t;
  const vec factor = high(3.0 + (z_high + rest)), factor_low = rest - ((factor - 3.0) - z_high);
  const vec product = third_high * factor, product_low = third_low * (factor + factor_low) + third_high * factor_low;
  const vec tail = product_low + e * LN2_LOW, result = high(e * LN2_HIGH + (product + tail));
  *low = tail - ((result - e * LN2_HIGH) - product);
  return result;
}

static vec v_log10(vec x) {
  const double modulus = 0.4342944819032518, modulus_high = 0x1.bcb7b1p-2, modulus_low = 0x1.49b9438ca9aaep-28;
  vec low;
  const vec main = log_parts(x, &low);
  return log_special(x, main * modulus_high + (main * modulus_low + low * modulus));
}

/* x^y = e^(y log|x|), with log|x| and the product in two parts. Special cases as in C (annex F), but where a result
   overflows it is DBL_MAX, and below DBL_MIN it is that, with its sign, for the reason told at exp. */
static vec v_pow(vec x, vec y) {
  vec log_low;
  const vec size = v_fabs(x), log_high = log_parts(size, &log_low);
  const vec exponent = v_max(VEC(-0x1p64), v_min(VEC(0x1p64), y)), y_high = high(exponent); /* beyond, all saturates */
  const vec product = y_high * log_high, product_low = (exponent - y_high) * log_high + exponent * log_low;
  const vec t = product + product_low, t_low = (product - t) + product_low;
  const vec shifted = exp_steps(t), n = shifted - ROUND, r = (t - n * LN2_HIGH) - (n * LN2_LOW - t_low);
  const ivec bits = (ivec)((uvec)(1.0 + (r + r * r * exp_tail(r))) + (((uvec)shifted - 1023) << 52));
  const ivec outside = (v_fabs(t) > 710.0) | (bits > (ivec)VEC(DBL_MAX)) | (bits < (ivec)VEC(DBL_MIN));
  vec result = SELECT(outside, SELECT(t > 0.0, DBL_MAX, DBL_MIN), (vec)bits);

  const ivec endless = (v_fabs(y) == INFINITY) & (size != 1.0);
  const vec limit = (vec)(((size < 1.0) ^ (y > 0.0)) & (ivec)VEC(INFINITY));
  result = SELECT((size == 0.0) | (size == INFINITY) | endless, limit, result);

  /* How far |y| is from an even number: 0 where it is one, 1 where it is odd. From 2^53 on, all are even. */
  const vec capped = v_min(VEC(0x1p53), v_fabs(y)), beside = v_fabs(capped - 2.0 * nearest(0.5 * capped));
  result = (vec)((ivec)result | ((beside == 1.0) & (ivec)x & SIGN));
  const ivec undefined = (x < 0.0) & (size < INFINITY) & (beside != 1.0) & (beside != 0.0);
  result = SELECT(undefined | (x != x) | (y != y), NAN, result);
  return SELECT((x == 1.0) | (y == 0.0), 1.0, result);
}

INLINE vec v_ipow(vec x, int n) {
  vec result = ONE;
  for (unsigned left = n < 0 ? -n : n; left; left >>= 1, x = x * x)
    if (left & 1) result = result * x;
  return n < 0 ? 1.0 / result : result;
}

/* The others go lane by lane through the C library: they are rare in cell models. */
#define LANEWISE(f) \
  INLINE vec v_##f(vec x) { \
    for (int l = 0; l < LANES; l++) x[l] = f(x[l]); \
    return x; \
  }
LANEWISE(sin)
LANEWISE(cos)
LANEWISE(tan)
LANEWISE(asin)
LANEWISE(acos)
LANEWISE(atan)
