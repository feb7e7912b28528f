"""Operations of a script kept away from where they, or their slopes, are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import atom, calls, in_torch, is_method, last, on
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact

Written = Iterator[tuple[str, SourceDraft]]
_HALF = ("float16", "half", "bfloat16")
_LARGEST = 20.0
"""Beyond, exp(x) is no figure that a loss can use; e^20 is 5e8, far from where float32 ends."""
_LEAST_SLOPE = 1e-6
"""From 1 and -1, where the slope of arccos is infinite; 1e-7 is lost beside 1 in float32."""


def epsilon(fact: Fact) -> str:
    """A number that is not lost in the operand's type."""
    return "1e-4" if str(fact.values.get("dtype")) in _HALF else "1e-8"


def _operands(source: Source, fact: Fact, *names: str) -> Iterator[cst.BaseExpression]:
    """What functions or methods of these names were given at that line; the one that was named first."""
    found = []
    for call in calls(source, fact.where, *names):
        if is_method(source, call) and isinstance(call.func, cst.Attribute):
            found.append(call.func.value)
        elif call.args:
            found.append(call.args[0].value)
    yield from _ordered(source, fact, found)


def _ordered(
    source: Source, fact: Fact, found: list[cst.BaseExpression]
) -> list[cst.BaseExpression]:
    named = str(fact.values.get("operand") or "")
    return sorted(dict.fromkeys(found), key=lambda node: source.code(node) != named)


def _bounded(draft: SourceDraft, node: cst.BaseExpression, low: str = "", high: str = "") -> str:
    """A node that is kept between bounds, in the script's own framework."""
    source = draft.source
    if in_torch(source):
        ends = [f"min={low}" if low else "", f"max={high}" if high else ""]
        return f"{atom(source, node)}.clamp({', '.join(filter(None, ends))})"
    code, package = source.code(node), _package(draft, node)
    code = f"{package}maximum({code}, {low})" if low else code
    return f"{package}minimum({code}, {high})" if high else code


def _package(draft: SourceDraft, node: cst.CSTNode) -> str:
    """What stands before the function that a node is given to: ``tf.math.``; else of TensorFlow or Keras."""
    source = draft.source
    call = source.around(node, cst.Call)
    if call is not None and isinstance(call.func, cst.Attribute) and not is_method(source, call):
        return source.code(call.func.value) + "."
    names = [alias.evaluated_name for alias in source.all(cst.ImportAlias)]
    return draft.spell("tensorflow.maximum" if "tensorflow" in names else "keras.ops.maximum")[:-7]


def _at_least(*names: str) -> Callable[[Source, Fact], Written]:
    """The operand is no less than an epsilon; where it is only 0, the epsilon is added to it."""

    def way(source: Source, fact: Fact) -> Written:
        eps = epsilon(fact)
        for node in _operands(source, fact, *names):
            clamped, added = SourceDraft(source), SourceDraft(source)
            clamped.replace(node, _bounded(clamped, node, low=eps))
            more = f"{atom(source, node)} + {eps}"
            hung = isinstance(source.parent(node), cst.Attribute)
            added.replace(node, f"({more})" if hung else more)
            ways = [
                (f"{source.code(node)} is no less than {eps}", clamped),
                (f"an epsilon of {eps} is added to {source.code(node)}", added),
            ]
            yield from reversed(ways) if _low(fact) >= 0 else ways

    return way


def _low(fact: Fact) -> float:
    found = fact.values.get("low")
    return math.nan if found is None else float(found)


def _roots(source: Source, fact: Fact) -> Written:
    """``x ** 0.5`` and other powers."""
    eps = epsilon(fact)
    found = [
        node.left
        for node in on(source, fact.where)
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Power)
    ]
    for node in _ordered(source, fact, found):
        draft = SourceDraft(source)
        draft.replace(node, f"({_bounded(draft, node, low=eps)})")
        yield f"{source.code(node)} is no less than {eps}", draft


def _between(*names: str) -> Callable[[Source, Fact], Written]:
    def way(source: Source, fact: Fact) -> Written:
        high = f"1 - {_LEAST_SLOPE:g}"
        for node in _operands(source, fact, *names):
            draft = SourceDraft(source)
            draft.replace(node, _bounded(draft, node, low=f"-1 + {_LEAST_SLOPE:g}", high=high))
            yield f"{source.code(node)} is kept within -1 and 1", draft

    return way


def _at_most(source: Source, fact: Fact) -> Written:
    for node in _operands(source, fact, "exp", "expm1"):
        draft = SourceDraft(source)
        draft.replace(node, _bounded(draft, node, high=f"{_LARGEST:g}"))
        yield f"{source.code(node)} is no more than {_LARGEST:g}", draft


def _shifted(source: Source, fact: Fact) -> Written:
    """A softmax by hand, ``e = exp(z)`` over ``e.sum(1)``: less the largest of each row, it is the same."""
    for node in _operands(source, fact, "exp"):
        call = source.around(node, cst.Call)
        assign = None if call is None else source.statement(call)
        total = _total(source, assign) if isinstance(assign, cst.Assign) else None
        if total is None or not isinstance(assign, cst.Assign) or assign.value is not call:
            continue
        axis = [_plain(source, arg) for arg in total.args if not _is_kept(arg)][-1:]
        draft, code = SourceDraft(source), atom(source, node)
        if in_torch(source):
            word = "" if axis and "=" in axis[0] else "dim="
            where = f"{word}{axis[0]}" if axis else "dim=-1"
            largest = f"{code}.amax({where}, keepdim=True)"
        else:
            package = _package(draft, node)
            function = "reduce_max" if last(source, total) == "reduce_sum" else "max"
            where = axis[0] if axis and "=" in axis[0] else "axis=-1"
            largest = f"{package}{function}({source.code(node)}, {where}, keepdims=True)"
        draft.replace(
            node, f"{code} - {largest}" if not _hung(source, node) else f"({code} - {largest})"
        )
        yield f"{source.code(node)} less the largest of each row", draft


def _total(source: Source, assign: cst.Assign) -> cst.Call | None:
    """What sums up the rows of what was assigned, to divide by it."""
    name = source.code(assign.targets[0].target)
    for call in source.all(cst.Call):
        if last(source, call) not in {"sum", "reduce_sum"}:
            continue
        method = is_method(source, call) and isinstance(call.func, cst.Attribute)
        given = call.func.value if method and isinstance(call.func, cst.Attribute) else None
        given = call.args[0].value if given is None and call.args else given
        own = method or len(call.args) > 1
        divides = any(
            isinstance(over.operator, cst.Divide) and source.within(call, over.right)
            for over in source.all(cst.BinaryOperation)
        )
        if given is not None and source.code(given) == name and divides and own:
            return call
    return None


def _is_kept(arg: cst.Arg) -> bool:
    """Whether it says that the axis stays."""
    return arg.keyword is not None and arg.keyword.value in {"keepdim", "keepdims"}


def _plain(source: Source, arg: cst.Arg) -> str:
    return source.code(arg).rstrip(", ").replace(" ", "")


def _hung(source: Source, node: cst.CSTNode) -> bool:
    """Whether a method is called on it."""
    return isinstance(source.parent(node), cst.Attribute)


def _quotients(source: Source, fact: Fact) -> Written:
    """``a / b`` and ``divide(a, b)``."""
    eps = epsilon(fact)
    found = [
        node.right
        for node in on(source, fact.where)
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Divide)
    ]
    for call in calls(source, fact.where, "div", "divide", "true_divide", "div_"):
        found += [arg.value for arg in call.args[0 if is_method(source, call) else 1 :][:1]]
    for node in _ordered(source, fact, found):
        if isinstance(node, cst.BaseNumber):
            continue
        clamped, added = SourceDraft(source), SourceDraft(source)
        clamped.replace(node, _bounded(clamped, node, low=eps))
        added.replace(node, f"({source.code(node)} + {eps})")
        yield f"the divisor {source.code(node)} is no less than {eps}", clamped
        yield f"an epsilon of {eps} is added to the divisor {source.code(node)}", added


def _norms(source: Source, fact: Fact) -> Written:
    """The root of a sum of squares, with an epsilon in it."""
    eps = epsilon(fact)
    for call in calls(source, fact.where, "norm", "vector_norm"):
        method = is_method(source, call)
        if not method and not call.args:
            continue
        assert isinstance(call.func, cst.Attribute | cst.Name)
        node = (
            call.func.value
            if method and isinstance(call.func, cst.Attribute)
            else call.args[0].value
        )
        axes = [arg for arg in call.args if _is_axis(arg)]
        if len(axes) + (0 if method else 1) < len(call.args):
            continue  # of another order
        draft = SourceDraft(source)
        more = "".join(f", {source.code(arg).rstrip(', ')}" for arg in axes)
        draft.replace(call, _root_of_squares(draft, node, more, eps))
        yield f"the root of the sum of squares of {source.code(node)} and {eps}", draft


def _is_axis(arg: cst.Arg) -> bool:
    word = "" if arg.keyword is None else arg.keyword.value
    return word in {"dim", "axis", "keepdim", "keepdims"}


def _root_of_squares(draft: SourceDraft, node: cst.BaseExpression, more: str, eps: str) -> str:
    source = draft.source
    if in_torch(source):
        return f"({atom(source, node)}.square().sum({more.removeprefix(', ')}) + {eps}).sqrt()"
    package = _package(draft, node)
    names = [alias.evaluated_name for alias in source.all(cst.ImportAlias)]
    total = "reduce_sum" if "tensorflow" in names and "ops" not in package else "sum"
    package = "" if package == "." else package.replace("linalg.", "")
    return f"{package}sqrt({package}{total}({package}square({source.code(node)}){more}) + {eps})"


def _logarithms(source: Source, fact: Fact) -> Written:
    """Of a softmax or a sigmoid: taken from what that was given."""
    whole = {"softmax": "log_softmax", "sigmoid": "logsigmoid"}
    for node in _operands(source, fact, "log"):
        if not isinstance(node, cst.Call) or last(source, node) not in whole:
            continue
        word = last(source, node)
        log = source.parent(node)
        log = source.around(node, cst.Call) if isinstance(log, cst.Arg | cst.Attribute) else None
        if log is None:
            continue
        draft = SourceDraft(source)
        method = is_method(source, node) and isinstance(node.func, cst.Attribute)
        inner = node.func.value if method and isinstance(node.func, cst.Attribute) else None
        given = [*([source.code(inner)] if inner else []), *(source.code(a) for a in node.args)]
        function = _log_of(draft, node, whole[word])
        if function:
            draft.replace(log, f"{function}({', '.join(g.rstrip(', ') for g in given)})")
            yield f"{whole[word]} of the logits for the logarithm of a {word}", draft


def _log_of(draft: SourceDraft, node: cst.Call, word: str) -> str:
    source = draft.source
    if in_torch(source):
        return draft.spell(f"torch.nn.functional.{word}")
    if not isinstance(node.func, cst.Attribute):
        return ""
    package = source.code(node.func.value)
    names = {"logsigmoid": "log_sigmoid"} if not package.startswith("tf") else {"logsigmoid": ""}
    word = names.get(word, word)
    return f"{package}.{word}" if word else ""


def _deviations(source: Source, fact: Fact) -> Written:
    """The root of a variance and an epsilon; over one element, the variance of all there is."""
    eps = epsilon(fact)
    for call in calls(source, fact.where, "std", "var"):
        if not in_torch(source):
            continue
        draft = SourceDraft(source)
        if last(source, call) == "std":
            assert isinstance(call.func, cst.Attribute)
            owner = source.code(call.func.value)
            given = "".join(source.code(arg) for arg in call.args)
            more = ", unbiased=False" if "unbiased" not in given and given else ""
            more = more or ("" if given else "unbiased=False")
            draft.replace(call, f"({owner}.var({given}{more}) + {eps}).sqrt()")
        else:
            arguments.change(draft, call, {"unbiased": "False"})
        yield f"the spread of all that there is, with an epsilon of {eps}", draft


def _masks(source: Source, fact: Fact) -> Written:
    """A mask of minus infinity makes a row of nothing but that NaN: a large number does not."""
    large = "-1e4" if str(fact.values.get("dtype")) in _HALF else "-1e9"
    draft = SourceDraft(source)
    for node in source.expressions():
        code = source.code(node).replace("'", '"').replace(" ", "")
        if code in {'float("-inf")', '-float("inf")', "-math.inf", "-torch.inf", "-np.inf"}:
            draft.replace(node, large)
    if draft.edits:
        yield f"the mask is {large} instead of minus infinity", draft


def _ignored(source: Source, fact: Fact) -> Written:
    """A mean over no examples: the sum over as many as there are, or over one."""
    for call in calls(source, fact.where, "cross_entropy", "nll_loss"):
        if len(call.args) < 2 or arguments.argument(call, "reduction") is not None:
            continue
        skipped = arguments.value(call, "ignore_index")
        skip = "-100" if skipped is None else source.code(skipped)
        target = atom(source, call.args[1].value)
        draft = SourceDraft(source)
        arguments.change(draft, call, {"reduction": draft.quoted("sum")})
        draft.insert(source.end(call), f" / ({target} != {skip}).sum().clamp(min=1)")
        yield "the mean over the examples that count, or 0 where none does", draft


def _means(source: Source, fact: Fact) -> Written:
    """The mean of nothing."""
    for call in calls(source, fact.where, "mean"):
        if is_method(source, call) and not call.args and isinstance(call.func, cst.Attribute):
            owner = source.code(call.func.value)
            draft = SourceDraft(source)
            draft.replace(call, f"({owner}.sum() / max({owner}.numel(), 1))")
            yield f"the mean of {owner}, or 0 where there is nothing in it", draft


def _shorter(source: Source, fact: Fact) -> Written:
    """Texts that are longer than what is read are left out."""
    draft = SourceDraft(source)
    for call in source.all(cst.Call):
        if last(source, call) in {"CTCLoss", "ctc_loss"}:
            arguments.change(draft, call, {"zero_infinity": "True"})
    if draft.edits:
        yield "texts longer than what is read are left out of the loss", draft


WAYS: Mapping[str, tuple[Callable[[Source, Fact], Written], ...]] = {
    "sqrt": (_at_least("sqrt", "rsqrt"), _roots),
    "rsqrt": (_at_least("rsqrt"),),
    "log": (_logarithms, _at_least("log", "log2", "log10", "xlogy")),
    "log1p": (_at_least("log1p"),),
    "pow": (_roots, _at_least("pow")),
    "divide": (_quotients,),
    "norm": (_norms,),
    "acos": (_between("acos", "arccos"),),
    "asin": (_between("asin", "arcsin"),),
    "exp": (_shifted, _at_most),
    "std": (_deviations,),
    "var": (_deviations,),
    "softmax": (_masks,),
    "log_softmax": (_masks,),
    "logsumexp": (_masks,),
    "cross_entropy": (_ignored, _masks),
    "nll": (_ignored,),
    "mean": (_means,),
    "ctc": (_shorter,),
    "atan2": (_at_least("atan2"),),
}
"""By the operation in which it was born."""
