"""Drawings (placeholder while the real module is being written)."""

from .graph import Plan


def mermaid(plan: Plan) -> str:
    return f"graph {plan.name}"


def dot(plan: Plan) -> str:
    return f"digraph {plan.name}"


def svg(plan: Plan) -> str:
    return f"<svg>{plan.name}</svg>"
