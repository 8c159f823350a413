"""Fan-out and fan-in: two branches that meet in a join, and one message spread into many and gathered again.

A join names its branches by its parameters. `None` stands for a branch that brought nothing, as `warn` does
by returning `None`.

It prints::

    Rome: 31 degrees, 4 letters, drink water
    Oslo: 12 degrees, 4 letters
    3 cities, longest name Helsinki
"""

import anyio

from penguiflow import Flow, Gathered, Spread, node

WEATHER = {"Rome": 31, "Oslo": 12, "Helsinki": 9}


@node
async def city(name: str) -> str:
    return name


@node
async def measure(name: str) -> int:
    await anyio.sleep(0.01)
    return WEATHER[name]


@node
async def warn(name: str) -> str | None:
    return "drink water" if WEATHER[name] > 30 else None


@node
async def report(city: str, measure: int, warn: str | None) -> str:
    text = f"{city}: {measure} degrees, {len(city)} letters"
    return f"{text}, {warn}" if warn else text


@node
async def each(cities: list[str]) -> Spread[str]:
    return Spread(cities)  # one message per city, worked on side by side


@node
async def tidy(name: str) -> str:
    return name.strip()


@node
async def longest(names: Gathered[str]) -> str:
    return f"{len(names)} cities, longest name {max(names, key=len)}"


flow = Flow("report", city >> [measure, warn] >> report, city >> report)
many = Flow("many", each >> tidy >> longest)


async def main() -> None:
    print(await flow.call("Rome"))
    print(await flow.call("Oslo"))
    print(await many.call([" Rome", "Oslo ", "Helsinki"]))


if __name__ == "__main__":
    anyio.run(main)
