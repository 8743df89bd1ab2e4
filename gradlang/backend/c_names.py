"""Identifiers of C: never a word of C or C++, nor a name of the C library."""

from __future__ import annotations

from gradlang.backend.names import printable

# What no name may be: words of C11 and of C++20, so that the header serves both.
KEYWORDS = frozenset(
    """alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class compl concept
    const const_cast consteval constexpr constinit continue co_await co_return co_yield decltype default delete do double
    dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept
    not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires restrict return short
    signed sizeof static static_assert static_cast struct switch template this thread_local throw true try typedef typeid
    typename typeof union unsigned using virtual void volatile wchar_t while xor xor_eq linux unix i386""".split()
)
# What the generated code uses itself, and macros of the headers that it includes.
USED = frozenset(
    """int32_t int64_t uint32_t uint64_t uintptr_t size_t ptrdiff_t NULL SIZE_MAX memcpy malloc free fabs sqrt floor ceil rint
    copysign fma isnan main fabsf sqrtf floorf ceilf rintf copysignf fmaf NAN INFINITY HUGE_VAL HUGE_VALF HUGE_VALL MATH_ERRNO
    MATH_ERREXCEPT math_errhandling FP_NAN FP_INFINITE FP_ZERO FP_SUBNORMAL FP_NORMAL FP_ILOGB0 FP_ILOGBNAN FP_FAST_FMA
    FP_FAST_FMAF FP_FAST_FMAL M_E M_LOG2E M_LOG10E M_LN2 M_LN10 M_PI M_PI_2 M_PI_4 M_1_PI M_2_PI M_2_SQRTPI M_SQRT2 M_SQRT1_2
    MAXFLOAT X_TLOSS DOMAIN SING OVERFLOW UNDERFLOW PLOSS TLOSS HUGE INT64_C UINT64_C UINT32_C INT64_MIN INT64_MAX stdin stdout
    stderr EOF errno signgam exception""".split()
)
LIBM = frozenset(
    "exp expm1 log log1p log2 log10 sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh hypot cbrt pow erf "
    "erfc".split()
)  # functions that the loop form calls by these names
# What a function with external linkage may not be called besides: functions of the libraries of C and POSIX.
LIBRARY = frozenset(
    """abort abs acosl alarm alloca atexit atof atoi atol bcmp bcopy bsearch bzero calloc ceill clearerr clock close connect
    copysignl cosl creat ctime daylight difftime div drem dup dup2 environ exit exp10 exp2 expl fabsl fclose fdim feof ferror
    fflush ffs fgetc fgets finite fmax fmin fmod fopen fork fprintf fputc fputs fread frexp fscanf fseek ftell fwrite gamma
    getc getchar getenv getopt gets gmtime ilogb index io j0 j1 jn labs ldexp ldiv lgamma link listen llabs llrint llround
    localtime logb longjmp lrint lround mktime modf nan nearbyint nextafter nexttoward nice open optarg opterr optind pause
    perror pipe poll pow10 printf putc putchar puts qsort raise rand random read realloc recv remainder remove remquo rename
    rewind rindex round scalb scalbln scalbn scanf select send setjmp signal signbit significand sincos sleep socket sprintf
    srand srandom sscanf stat strcat strchr strcmp strcpy strlen sync system tempnam tgamma time timezone tmpfile tmpnam trunc
    ungetc unlink vprintf wait write y0 y1 yn""".split()
)
RESERVED = KEYWORDS | USED | LIBM | frozenset(f"{name}f" for name in LIBM)


def plain(text: str) -> str:
    """A user's text as a part of a comment."""
    return printable(text).replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
