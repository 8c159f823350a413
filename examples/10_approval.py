"""A person approves, edits or rejects what a model wants to do; the run waits for that in the journal.

It prints::

    pay 500 to Ada
    pay 50 to Ada
    not done: Who is Ada?
"""

from typing import Literal

import anyio
from pydantic import BaseModel

from penguiflow import Context, Flow, Interrupt, Run, Runtime, node
from penguiflow.journals import MemoryJournal


class Call(BaseModel):
    tool: str
    to: str
    amount: int


class Decision(BaseModel):
    action: Literal["approve", "edit", "reject"]
    call: Call | None = None
    reason: str = ""


@node
async def plan(wish: str) -> Call:
    return Call(tool="pay", to="Ada", amount=500)  # where a model would choose


@node
async def approve(call: Call, ctx: Context) -> Call | str:
    decision: Decision = await ctx.interrupt(call, expect=Decision)
    if decision.action == "reject":
        return f"not done: {decision.reason}"
    return decision.call or call


@node
async def carry_out(call: Call) -> str:
    return f"{call.tool} {call.amount} to {call.to}"


@node
async def explain(refusal: str) -> str:
    return refusal


flow = Flow("payments", plan >> approve >> [carry_out, explain])


async def question_of(runtime: Runtime, run: Run) -> Interrupt:
    """Wait for the question of a run; a page for whoever decides would list all of them."""
    while True:
        for interrupt in await runtime.interrupts():
            if interrupt.run_id == run.id:
                return interrupt
        await anyio.sleep(0.01)


async def main() -> None:
    decisions = [
        Decision(action="approve"),
        Decision(action="edit", call=Call(tool="pay", to="Ada", amount=50)),
        Decision(action="reject", reason="Who is Ada?"),
    ]
    async with flow.open(journal=MemoryJournal()) as runtime:
        for decision in decisions:
            run = await runtime.start("Pay Ada.")
            asked = await question_of(runtime, run)
            await runtime.answer(run.id, asked.token, decision)
            print(await run.result())


if __name__ == "__main__":
    anyio.run(main)
