"""Random formulas for random_formulas.R: python random_formulas.py SEED COUNT [fixed].

The grammar covers every operator, eight kinds of variable, the functions of the
whitelist and twenty grouping expressions. With `fixed`, no random terms are made.
"""

import random
import sys

KINDS = ["+", "+", "+", "*", ":", ":", "/", "%in%", "-", "^", "+1", "+0", "-1"]
KINDS += ["()", "()", "u", "o"]
NUMBERS = ["x", "z", "w", "e", "k", "t"]
FACTORS = ["f", "h", "g", "o", "s", "b"]
FUNCTIONS = """poly(x, 2);log(z);I(x^2);factor(k);scale(x);I(x > 0);ns(z, df = 3);
cut(z, 3);relevel(f, ref = "b");sqrt(z);ifelse(x > 0, 1, 0);interaction(f, b);
C(f, contr.sum);ordered(k);pmin(x, z);as.factor(t);cut(x, c(-3,0,3));(!b);(x > 0);
I(x*z);exp(-x);bs(z, df = 4);abs(x);C(h, sum);I(f == "a");factor(s);
poly(z, 2, raw = TRUE);round(w);log(z, 2);(k %% 2);I(k %/% 2);scale(z, scale = FALSE);
factor(f, levels = c("c", "a", "b"));I(-x);cbind(x, z);log1p(z);I((x + z)/2);I(b + x);
I(x & b);pmax(x,0);floor(z);factor(x > 0);ordered(f);droplevels(f);
C(o, contr.treatment);factor(z > 2, labels=c("lo","hi"));scale(log(z));poly(log(z), 2);
ns(z, knots = c(1, 2));bs(x, degree = 2, knots = 0);C(o, poly);C(f, contr.helmert);
I(sqrt(z)/w);log10(z);expm1(x);sin(x);cos(z);ceiling(w);I(!b);I(s == "Mo");
ifelse(b, x, z);cut(w, c(0, 4, 8, 12), right = FALSE);
C(f, contr.treatment(3, base = 2));
interaction(f, h);I(x %/% 1);is.na(x);round(x, 1);sign(x);I(z^-1);I(x*(z - 1))"""
LEFT = """1;x;0+x;x+z;f;0+f;x*f;b;o;x-1;-1+x;1+x;poly(x,2);x:f;f:h;log(z);
scale(x);I(x^2);
0+f:x;k;s;0+h+x;factor(k);z*b;x%in%f;(x+f);0+o;ns(z, df = 2);C(f, contr.sum);b:x;0"""
GROUPS = "g;h;f;k;s;b;t;o;g:h;f/h;g/h;f:h:b;h:s;b:g;f/h/b;s/h;k:f;f/(h:b);t/b;g:(h:b)"


def choices(text):
    return [part.strip() for part in text.replace("\n", "").split(";")]


FUNCTIONS, LEFT, GROUPS = map(choices, (FUNCTIONS, LEFT, GROUPS))


def main(seed, count, fixed):
    rng = random.Random(seed)

    def atom():
        kind = rng.random()
        table = NUMBERS if kind < 0.3 else FACTORS if kind < 0.65 else FUNCTIONS
        return rng.choice(table)

    def expression(depth, offsets=True):
        if depth == 0 or rng.random() < 0.3:
            return atom()
        kind = rng.choice(KINDS)

        def part():
            return expression(depth - 1, offsets)

        if kind in "+*:/-":
            space = rng.choice(["", " "])
            return f"{part()}{space}{kind}{space}{part()}"
        if kind == "%in%":
            return f"{part()} %in% {part()}"
        if kind == "^":
            return f"({part()}+{part()})^{rng.choice('23')}"
        if kind == "()":
            return f"({part()})"
        if kind == "u":
            return f"{rng.choice('+-')}({part()})"
        if kind == "o":
            known = rng.choice(["z", "log(z)", "w"])
            return f"{part()} + offset({known})" if offsets else part()
        return part() + kind

    def bar():
        left = expression(1, False) if rng.random() < 0.2 else rng.choice(LEFT)
        symbol = rng.choice(["|", "|", "|", " | ", " | ", "||", " || "])
        return f"({left}{symbol}{rng.choice(GROUPS)})"

    for _ in range(count):
        left = rng.choice(["y", "y", "y", "log(y)", "I(y*2)", "sqrt(y)"])
        depths = [
            rng.choice([0, 1, 1, 2, 2, 3]) for _ in range(rng.choice([1, 1, 2, 3]))
        ]
        parts = [expression(depth) for depth in depths]
        if not fixed and rng.random() < 0.7:
            parts += [bar() for _ in range(rng.choice([1, 1, 2, 3]))]
        if rng.random() < 0.1 and not any("|" in part for part in parts):
            rng.shuffle(parts)
        if rng.random() < 0.1:
            parts.insert(0, "0")
        if left == "y" and rng.random() < 0.03:
            parts.insert(0, ".")
        print(f"{left} ~ {' + '.join(parts)}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), "fixed" in sys.argv)
