"""What of an exported C file does not depend on the network: windows, lines, the test and the README.

$P is the name, $C the columns, $K the horizon, $ONCE the steps forecast at once, $N the
values a window keeps (its context, and the one before it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def filled(text: str, facts: Mapping[str, Any]) -> str:
    """``text`` with each $MARK replaced by the fact of that name."""
    for mark in sorted(facts, key=len, reverse=True):
        text = text.replace(f"${mark}", str(facts[mark]))
    return text


ONCE = """static void $P$MARK_once($P *m, $ARGUMENTS) {
$UNUSED
    $BODY
}
"""
RESET = """void $P_reset($P *m) {
    (void)m;
    $RESETS
}

void $P_init($P *m) {
    $P_reset(m);
}
"""
READ = """float x[$C];
    for (int c = 0; c < $C; c++) x[c] = (float)((values[c] - $P_shift[c]) / $P_scale[c]);
    $P_once(m, x, $RESULT);"""
ODDS = """
    float most, sum = 0;
    for (int k = 0; k < $K; k++) probabilities[k] -= (float)$P_prior[k];
    most = probabilities[0];
    for (int k = 1; k < $K; k++) most = probabilities[k] > most ? probabilities[k] : most;
    for (int k = 0; k < $K; k++) {
        probabilities[k] = $P_exp((probabilities[k] - most) / $TEMPERATURE);
        sum += probabilities[k];
    }
    for (int k = 0; k < $K; k++) probabilities[k] /= sum;"""
STEP_OF_ONE = """void $P_step($P *m, $VALUE, $PARAMETER) {
    $CALL
}
"""
LOADED = """    static union { double align; unsigned char bytes[$BYTES]; } weights;
    FILE *file = fopen("$P.weights", "rb");
    if (!file || fread(weights.bytes, 1, sizeof weights.bytes, file) != sizeof weights.bytes) return 2;
    fclose(file);
    $P_use_weights(weights.bytes);
"""
TRIED = """if ($P_step(&m, $CALL, made) != !isnan(*want)) missed++;
        if (isnan(*want)) continue;"""

CARRIED = """int $P_step($P *m, const double *values, double *forecast) {
    float x[$C], made[$ONCE * $C];
    for (int c = 0; c < $C; c++) {
@if differences
        x[c] = (float)((m->count ? values[c] - m->window[0][c] : 0) / $P_scale[c]);
@end
@if levels
        x[c] = (float)((values[c] - $P_shift[c]) / $P_scale[c]);
@end
        m->window[0][c] = values[c];
    }
    m->count = 1;
    $P_once(m, x, made);
    for (int k = 0; k < $K; k++)
        for (int c = 0; c < $C; c++)
@if differences
            forecast[k * $C + c] = (k ? forecast[(k - 1) * $C + c] : values[c]) + made[k * $C + c] * $P_scale[c];
@end
@if levels
            forecast[k * $C + c] = made[k * $C + c] * $P_scale[c] + $P_shift[c];
@end
    return 1;
}
"""
STEP = """
int $P_step($P *m, const double *values, double *forecast) {
    double window[$N][$C], made[$ONCE][$C];
    memmove(m->window[0], m->window[1], sizeof m->window - sizeof m->window[0]);
    memcpy(m->window[$N - 1], values, sizeof m->window[0]);
    m->count += m->count < $N;
    if (m->count < $N - 1) return 0;
    memcpy(window, m->window, sizeof window);
    for (int k = 0; k < $K; k += $ONCE) {
        $P_at_once(m, window, k + m->count >= $N, made);
        for (int j = 0; j < $ONCE; j++) {
            if (k + j < $K) memcpy(forecast + (k + j) * $C, made[j], sizeof made[j]);
            memmove(window[0], window[1], sizeof window - sizeof window[0]);
            memcpy(window[$N - 1], made[j], sizeof made[j]);
        }
    }
    return 1;
}
"""
WINDOW = """/* The next $ONCE steps after a window; whether it is whole: the value before it has been. */
static void $P_at_once($P *m, double window[][$C], int whole, double made[][$C]) {
    float x[$C], out[$ONCE * $C];
    (void)whole;
    $RESET
    for (int t = 1; t < $N; t++) {
        for (int c = 0; c < $C; c++)
@if differences
            x[c] = (float)((t == 1 && !whole ? 0 : window[t][c] - window[t - 1][c]) / $P_scale[c]);
@end
@if levels
            x[c] = (float)((window[t][c] - $P_shift[c]) / $P_scale[c]);
@end
        $P_once(m, x, out);
    }
    for (int k = 0; k < $ONCE; k++)
        for (int c = 0; c < $C; c++)
@if differences
            made[k][c] = (k ? made[k - 1][c] : window[$N - 1][c]) + out[k * $C + c] * $P_scale[c];
@end
@if levels
            made[k][c] = out[k * $C + c] * $P_scale[c] + $P_shift[c];
@end
}
"""
LINE = """/* The linear forecast of $ONCE steps after a window. */
static void $P_line(double window[][$C], double made[][$C]) {
    for (int c = 0; c < $C; c++)
        for (int k = 0; k < $ONCE; k++) {
            const double *w = $P_line_values + (c * $ONCE + k) * $R;
            double sum = $P_line_values_bias[c * $ONCE + k];
            for (int r = 0; r < $R; r++) sum += w[r] * window[$N - $R + r][c];
            made[k][c] = $P_line_share[c] * sum;
@if logs
            w = $P_line_logs + (c * $ONCE + k) * $R;
            sum = $P_line_logs_bias[c * $ONCE + k];
            for (int r = 0; r < $R; r++) sum += w[r] * log(fmax(window[$N - $R + r][c], $P_line_floor[c]));
            made[k][c] += $P_line_share[$C + c] * exp(fmin(sum, $LARGEST));
@end
        }
}
"""
LINE_ALONE = """static void $P_at_once($P *m, double window[][$C], int whole, double made[][$C]) {
    (void)m;
    (void)whole;
    $P_line(window, made);
}
"""
ON_LINE = """/* The line, and what the network says of each column: in addition to it, and beside it. */
static void $P_at_once($P *m, double window[][$C], int whole, double forecast[][$C]) {
    enum { first = $N - $STEPS * $SEGMENT };
    (void)whole;
    $P_line(window, forecast);
    for (int c = 0; c < $C; c++) {
        float x[2 * $SEGMENT + 1], made[$M][2 * $ONCE];
        const double shift = $P_shift[c], scale = $P_scale[c];
        const double level = (window[$N - 1][c] - shift) / scale;
        double square = 0;
        for (int t = first; t < $N; t++) {
            const double away = (window[t][c] - shift) / scale - level;
            square += away * away;
        }
        const double calm = $FLOOR * $P_spread[c];
        const double spread = sqrt(square / ($STEPS * $SEGMENT) + calm * calm), size = spread / $P_spread[c];
        $RESET
        for (int t = first; t < $N; t += $SEGMENT) {
            for (int j = 0; j < $SEGMENT; j++) {
                const double z = (window[t + j][c] - shift) / scale;
                x[j] = (float)((z - level) / spread);
                x[$SEGMENT + j] = (float)fmin(fmax(z, -$FURTHEST), $FURTHEST);
            }
            x[2 * $SEGMENT] = (float)log(size);
$CALLS        }
        for (int k = 0; k < $ONCE; k++) {
            double added = 0, beside = 0;
            for (int i = 0; i < $M; i++) {
                added += made[i][k] / $M.0;
                beside += made[i][$ONCE + k] / $M.0;
            }
            added *= $P_units[c] * size;
            beside = level + beside * $P_units[$C + c] * size;
            const double line = (forecast[k][c] - shift) / scale;
            forecast[k][c] = (line + $P_gain[0] * added + $P_gain[1] * (beside - line)) * scale + shift;
        }
    }
}
"""
FORECAST = {
    "carried": CARRIED,
    "window": WINDOW + STEP,
    "line": LINE + LINE_ALONE + STEP,
    "on_line": LINE + ON_LINE + STEP,
}
TEST = """/* Feeds $P what was recorded, and prints the largest error as a share of the largest value. 0: it fits. */
#include <math.h>
#include <stdio.h>

#include "$P.h"

static const $KIND inputs[] = {
$INPUTS
};
/* computed in double; NAN where nothing is said yet */
static const double wanted[] = {
$WANTED
};

int main(void) {
    static $P m;
    static $REAL made[$SIZE];
    double largest = 0, worst = 0;
    int missed = 0;
$LOADED    $P_init(&m);
    for (int t = 0; t < $T; t++) {
        const double *want = wanted + t * $SIZE;
        $STEP
        for (int j = 0; j < $SIZE; j++) {
            const double error = fabs(made[j] - want[j]);
            if (isnan(error)) missed++;
            if (error > worst) worst = error;
            if (fabs(want[j]) > largest) largest = fabs(want[j]);
        }
    }
    const double share = worst / (largest > 0 ? largest : 1);
    printf("$P: %d steps, largest error %.3g of the largest value\\n", $T, share);
    return missed || !(share <= $TOLERANCE);
}
"""
README = """# $P

A recurrent network in C99, written by Elman $VERSION. It needs the C library's mathematics and nothing else, and
allocates nothing.

```c
#include "$P.h"

static $P m;  /* $STATE bytes */
$P_init(&m);
```

```c
$PROMISE
```
$APART
| | bytes |
|---|---|
| weights ($KIND), constant | $WEIGHTS |
| state, one for each stream | $STATE |
| stack of a step, about | $STACK |

Compile it with `-O3` and for the processor at hand (`-march=native`), and check it with what was recorded:

```sh
cc -std=c99 -O3 -march=native -o test_$P test_$P.c $P.c -lm && ./test_$P
```
"""
