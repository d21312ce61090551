"""The mathematics of exported C: a function each, and those a step uses are written into its file.

For float they are polynomials without a branch, so that a compiler makes vectors of them; errors below 4e-7 of the
value. For double they are the C library's. $R stands for the type, $P for the prefix, $F for the library's suffix,
$N for the rows of a product.
"""

from __future__ import annotations

SHARED = {
    "abs": "return fabs$F(a);",
    "sign": "return ($R)((a > 0) - (a < 0));",
    "log": "return log$F(a);",
    "log1p": "return log1p$F(a);",
    "sqrt": "return sqrt$F(a);",
    "rsqrt": "return 1 / sqrt$F(a);",
    "sin": "return sin$F(a);",
    "cos": "return cos$F(a);",
    "atan": "return atan$F(a);",
    "erf": "return erf$F(a);",
    "relu": "return a < 0 ? 0 : a;",
    "softplus": "return (a > 0 ? a : 0) + log1p$F($P_exp(-fabs$F(a)));",
    "maximum": "return a > b || a != a ? a : b;",
    "minimum": "return a < b || a != a ? a : b;",
    "clamp": "return a < b ? b : a > c ? c : a;",
    "power": "return pow$F(a, b);",
    "expm1": "return expm1$F(a);",
}
EXACT = SHARED | {
    "exp": "return exp(a);",
    "tanh": "return tanh(a);",
    "sigmoid": "return 1 / (1 + exp(-a));",
}
# a = n ln 2 + r, and q(r) for exp(r) = 1 + r + r^2 q(r). n is rounded by adding 1.5 2^23, whose last bits then hold it.
REDUCED = """union { float f; int32_t i; } n, two;
    n.f = a * 1.44269504f + 12582912.0f;
    const float whole = n.f - 12582912.0f;
    const float r = (a - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float q = 1.9875691500e-4f;
    q = q * r + 1.3981999507e-3f;
    q = q * r + 8.3334519073e-3f;
    q = q * r + 4.1665795894e-2f;
    q = q * r + 1.6666665459e-1f;
    q = q * r + 5.0000001201e-1f;"""
FAST = SHARED | {
    "exp": f"""
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
    return expf(a);
#else
    a = a < -87.3f ? -87.3f : a;
    a = a > 88.7f ? 88.7f : a;
    {REDUCED}
    /* twice the half, so that 2^128 is not wanted */
    two.i = (int32_t)((uint32_t)(n.i + (126 - 0x4B400000)) << 23);
    return (q * r * r + r + 1.0f) * two.f * 2.0f;
#endif""",
    # By expm1(-2 |a|), which is exact near 0 and cannot overflow.
    "tanh": f"""
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
    return tanhf(a);
#else
    const float sign = a;
    a = -2.0f * fabsf(a);
    a = a < -60.0f ? -60.0f : a;
    {REDUCED}
    two.i = (int32_t)((uint32_t)(n.i + (127 - 0x4B400000)) << 23);
    const float less = two.f * (q * r * r + r) + (two.f - 1.0f);
    return copysignf(less / (less + 2.0f), sign);
#endif""",
    "sigmoid": "return 1.0f / (1.0f + $P_exp(-a));",
}
NEEDS = {"sigmoid": ("exp",), "softplus": ("exp",)}
ARGUMENTS = {"maximum": "ab", "minimum": "ab", "clamp": "abc", "power": "ab"}
PRODUCT = """static inline void $P_product_$N(int columns, const $R *w, const $R *x, $R *y) {
    $R sum[$N] = {0};
    for (int k = 0; k < columns; k++, w += $N)
        for (int j = 0; j < $N; j++) sum[j] = $P_muladd(w[j], x[k], sum[j]);
    for (int j = 0; j < $N; j++) y[j] = sum[j];
}"""
PRODUCT8 = PRODUCT.replace("_product_", "_product8_").replace("const $R *w", "const signed char *w")
MULADD = """#if defined(__GNUC__) && !defined(__clang__)
/* Comparisons that no trap can see may be computed on vectors, and a b + c rounded once. */
#pragma GCC optimize("no-trapping-math", "no-math-errno", "fp-contract=fast")
#elif defined(__clang__)
#pragma STDC FP_CONTRACT ON
#endif
#if defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON))
#define $P_VECTORS
typedef $R $P_vector __attribute__((vector_size($B), aligned($I), may_alias));
#endif
#define $P_muladd(a, b, c) (($R)(a) * (b) + (c))"""
VECTOR = 8  # numbers in a vector of the code


def _product(rows: int, int8: bool) -> str:
    """The product of ``rows`` rows: sums in vectors where the compiler has them, else in a row."""
    plain = (PRODUCT8 if int8 else PRODUCT).replace("$N", str(rows))
    if int8 or rows % VECTOR:
        return plain
    count = rows // VECTOR
    names = [f"s{v}" for v in range(count)]
    zeros = ", ".join(f"{name} = {{0}}" for name in names)
    adds = "\n".join(f"        {name} += ((const $P_vector *)w)[{v}] * x[k];" for v, name in enumerate(names))
    stores = "\n".join(f"    (($P_vector *)y)[{v}] = {name};" for v, name in enumerate(names))
    return f"""#ifdef $P_VECTORS
static inline void $P_product_{rows}(int columns, const $R *w, const $R *x, $R *y) {{
    $P_vector {zeros};
    for (int k = 0; k < columns; k++, w += {rows}) {{
{adds}
    }}
{stores}
}}
#else
{plain}
#endif"""


def preamble(prefix: str, real: str, used: set[str]) -> str:
    """The functions of ``used``, and those that they need, as C."""
    bodies = EXACT if real == "double" else FAST
    wanted = used | {need for name in used for need in NEEDS.get(name, ())}
    functions = [MULADD]
    for name in sorted(wanted, key=lambda name: (name != "exp", name)):
        if name.startswith("product"):
            kind, rows = name.split("_")
            functions.append(_product(int(rows), kind == "product8"))
        else:
            arguments = ", ".join(f"$R {letter}" for letter in ARGUMENTS.get(name, "a"))
            functions.append(f"static inline $R $P_{name}({arguments}) {{\n    {bodies[name]}\n}}")
    suffix = "" if real == "double" else "f"
    item = 8 if real == "double" else 4
    marks = {"$P": prefix, "$R": real, "$F": suffix, "$B": str(VECTOR * item), "$I": str(item)}
    text = "\n".join(functions)
    for mark, meaning in marks.items():
        text = text.replace(mark, meaning)
    return text
