"""What generated code does, a little of everything: the load that the profile is recorded under (README.md)."""

import io
import gc
import time
import _sandpool_prof as P

P.reset()


def nbody():
    bodies = [
        [0.0, 0.0, 0.0, 0.1, 0.2, 0.0, 39.4],
        [4.8, -1.1, -0.1, 0.6, 2.8, -0.02, 0.03],
        [8.3, 4.1, -0.4, -1.0, 1.8, 0.008, 0.01],
        [12.8, -15.1, -0.2, 1.08, 0.8, -0.01, 0.001],
    ]
    for _ in range(1500):
        for i in range(len(bodies)):
            a = bodies[i]
            for j in range(i + 1, len(bodies)):
                b = bodies[j]
                dx = a[0] - b[0]
                dy = a[1] - b[1]
                dz = a[2] - b[2]
                m = 0.01 / ((dx * dx + dy * dy + dz * dz) ** 1.5)
                a[3] -= dx * b[6] * m
                a[4] -= dy * b[6] * m
                a[5] -= dz * b[6] * m
                b[3] += dx * a[6] * m
                b[4] += dy * a[6] * m
                b[5] += dz * a[6] * m
        for r in bodies:
            r[0] += 0.01 * r[3]
            r[1] += 0.01 * r[4]
            r[2] += 0.01 * r[5]


def fannkuch(n=7):
    from itertools import permutations

    best = 0
    for p in permutations(range(n)):
        p = list(p)
        k = 0
        while p[0]:
            q = p[0]
            p[: q + 1] = p[q::-1]
            k += 1
        if k > best:
            best = k
    return best


def sieve(n=120000):
    flags = [True] * n
    i = 2
    while i * i < n:
        if flags[i]:
            for j in range(i * i, n, i):
                flags[j] = False
        i += 1
    return sum(flags)


def fibm():
    def f(n):
        return 1 if n < 2 else f(n - 1) + f(n - 2)

    def ack(m, n):
        return n + 1 if m == 0 else ack(m - 1, 1) if n == 0 else ack(m - 1, ack(m, n - 1))

    f(19)
    ack(2, 20)


class Shape:
    count = 0

    def __init__(self, name, *, size=1):
        self.name = name
        self._size = size
        Shape.count += 1

    @property
    def size(self):
        return self._size

    @size.setter
    def size(self, v):
        self._size = v

    def area(self):
        return self.size * self.size

    @staticmethod
    def zero():
        return 0

    @classmethod
    def make(cls, n):
        return cls(n, size=3)

    def __eq__(self, o):
        return isinstance(o, Shape) and self.name == o.name

    def __lt__(self, o):
        return self._size < o._size

    def __hash__(self):
        return hash(self.name)

    def __repr__(self):
        return f"Shape({self.name!r})"


class Circle(Shape):
    def __init__(self, name, r):
        super().__init__(name, size=r)
        self.r = r

    def area(self):
        return 3.14159 * self.r**2

    def __getitem__(self, i):
        return self.r + i

    def __len__(self):
        return 3

    def __contains__(self, x):
        return x == self.r

    def __call__(self, x):
        return x

    def __getattr__(self, n):
        if n.startswith("dyn_"):
            return 1
        raise AttributeError(n)


class P3:
    __slots__ = ("a", "b", "c")

    def __init__(self, a, b, c):
        self.a = a
        self.b = b
        self.c = c

    def __add__(self, o):
        return P3(self.a + o.a, self.b + o.b, self.c + o.c)

    def __mul__(self, k):
        return P3(self.a * k, self.b * k, self.c * k)

    def dot(self, o):
        return self.a * o.a + self.b * o.b + self.c * o.c


def classes():
    tot = 0
    for i in range(2500):
        s = Shape("s%d" % i, size=i)
        c = Circle(f"c{i}", i)
        tot += s.area() + c.area() + Shape.zero() + Shape.make("x").size
        s.size = 5
        tot += c[2] + len(c) + (i in c) + c(3) + c.dyn_x + (s == c) + (s < c)
        tot += hasattr(c, "nope")
        try:
            s.nope
        except AttributeError:
            pass
    v = P3(1, 2, 3)
    for i in range(5000):
        v = v + P3(i, 1, 0) * 2
        v.dot(v)
    {Shape(str(i)): i for i in range(500)}
    repr(s)
    return sorted([Shape(str(i), size=-i) for i in range(300)])[0]


def gens():
    def g(n):
        for i in range(n):
            yield i

    def h(n):
        x = yield from g(n)
        try:
            while True:
                y = yield 1
        except GeneratorExit:
            pass

    sum(g(8000))
    sum(x * x for x in g(8000))
    it = h(2000)
    for _, x in zip(range(3000), it):
        pass
    it.close()
    list(map(lambda x: x + 1, filter(None, g(5000))))
    [*g(100)]
    dict(zip(g(3000), g(3000)))
    any(x > 4000 for x in g(5000))
    all(x < 4000 for x in g(5000))
    max(g(2000))
    min(g(2000), key=lambda x: -x)
    for i, (a, b) in enumerate(zip(range(3000), range(3000))):
        pass
    from itertools import chain, product, combinations, islice, groupby, accumulate, count

    sum(1 for _ in product(range(15), repeat=3))
    sum(1 for _ in combinations(range(18), 3))
    list(islice(count(), 500))
    list(accumulate(range(500)))
    [(k, len(list(v))) for k, v in groupby("aaabbbccd" * 100)]
    list(chain([1, 2], [3]))


def excs():
    class E(Exception):
        pass

    n = 0

    def raiser(i):
        if i % 3 == 0:
            raise E(i)
        if i % 3 == 1:
            raise ValueError("x")
        return {}["k"]

    for i in range(1500):
        try:
            raiser(i)
        except E as e:
            n += e.args[0]
        except (ValueError, TypeError):
            n += 1
        except KeyError:
            n += 2
        else:
            pass
        finally:
            n += 1
    from contextlib import contextmanager, suppress

    @contextmanager
    def cm():
        yield 1

    for i in range(500):
        with cm() as x:
            n += x
        with suppress(ZeroDivisionError):
            1 / 0
    import traceback

    for i in range(20):
        try:
            raiser(0)
        except E:
            traceback.format_exc()


def strs():
    words = [f"item{i:04d}-{i*0.5:.2f}" for i in range(4000)]
    t = " ".join(words)
    u = t.upper().lower().title()
    u.split()
    u.split("-")
    t.replace("item", "thing")
    t.count("0")
    t.find("zzz")
    t.splitlines()
    t[::-1]
    t[5:500]
    for w in words[:2500]:
        w.startswith("item")
        w.endswith("0")
        w.strip()
        w.partition("-")
        w.isdigit()
        w.encode()
        w in t[:200]
        w + "x"
        w == t
        w < "m"
        len(w)
        w[0]
        w[-1]
        ord(w[0])
        chr(97)
        "%s %d %r" % (w, 3, w)
        "{} {:>10}".format(w, 3)
        f"{w:<20}|{len(w):,}"
        str(12345)
        int("123")
        float("1.5")
        hash(w)
        w.zfill(20)
        w.rjust(30)
    s = ""
    for i in range(3000):
        s += "ab"
    "".join(c for c in s if c != "a")
    "".join([c.upper() for c in s])
    s.translate(str.maketrans("ab", "cd"))
    "äöü€漢字" * 500 + "x"
    ("äöü" * 300).encode("utf-8").decode("utf-8")
    sorted(words)
    sorted(words, key=len)
    list(t[:5000])
    set(words)
    words.index(words[-1])
    cnt = {}
    for ch in t[:20000]:
        cnt[ch] = cnt.get(ch, 0) + 1
    b = bytearray(b"abc" * 500)
    b.extend(b"x")
    bytes(b)
    b[3:9]
    bytes(range(256)).hex()
    b"a,b".split(b",")
    import textwrap
    import string

    textwrap.fill("lorem ipsum dolor sit amet " * 80, 60)
    string.Template("$a").substitute(a=1)


def dicts():
    d = {}
    for i in range(12000):
        d[i % 700] = d.get(i % 700, 0) + i
    for k, v in d.items():
        v += 1
    for i in range(4000):
        if i in d:
            d[i] += 1
        else:
            d.setdefault(i, 0)
    s = {}
    for i in range(6000):
        s["k%d" % (i % 500)] = i
    {**s, "a": 1}
    s | {"b": 2}
    dict(s)
    list(s.values())
    sorted(s.items(), key=lambda kv: -kv[1])[:10]
    [d.pop(k) for k in list(d)[:500]]
    {k: v for k, v in s.items() if v % 2}
    {v for v in s.values()}
    del s["k1"]
    from collections import Counter, defaultdict, deque, OrderedDict, namedtuple, ChainMap

    Counter("abracadabra" * 500).most_common(3)
    dd = defaultdict(list)
    for i in range(5000):
        dd[i % 50].append(i)
    q = deque()
    for i in range(4000):
        q.append(i)
        (len(q) > 100 and q.popleft())
    P = namedtuple("P", "x y")
    ps = [P(i, i + 1) for i in range(2000)]
    sum(p.x + p.y for p in ps)
    ps[0]._replace(x=2)
    OrderedDict(s)
    sum(1 for p in ps if p == ps[3])
    a = set(range(1000))
    b = set(range(500, 1500))
    a & b
    a | b
    a - b
    a ^ b
    a <= b
    frozenset(a)
    t = {(i, j): i * j for i in range(50) for j in range(50)}
    sum(t[i, j] for i in range(50) for j in range(50))
    (1, 2) in t


def lists():
    m = [[i * j % 7 for j in range(60)] for i in range(60)]
    [[sum(a * b for a, b in zip(r, c)) for c in zip(*m)] for r in m[:30]]
    l = list(range(5000))
    l.reverse()
    l.sort()
    l.sort(key=lambda x: -x)
    l[10:20] = [1, 2]
    l.insert(0, 1)
    l.pop()
    l.pop(0)
    l.extend(range(10))
    l + [1]
    l * 2
    del l[3:5]
    sum(l)
    max(l)
    min(l)
    l.count(3)
    sorted(l, reverse=True)
    list(reversed(l))
    3 in l
    [x for x in l if x % 2 == 0]
    r = []
    for x in l:
        if x & 1:
            r.append(x * 2)
        elif x % 3 == 0:
            r.append(x // 3)
        else:
            continue
    a, *b = l
    a, b = b, a
    x, y, z = (1, 2, 3)
    for i in range(4000):
        l[i % 100] = l[i % 50] + 1
        l[-1]
        a = (i, i + 1, i + 2)
        p, q, s = a
        a[1:]
    import heapq
    import bisect

    h = []
    for i in range(3000):
        heapq.heappush(h, (i * 7919) % 1009)
    while h:
        heapq.heappop(h)
    for i in range(2000):
        bisect.bisect(l[:50], i)

    def qs(a):
        return a if len(a) < 2 else qs([x for x in a[1:] if x < a[0]]) + [a[0]] + qs([x for x in a[1:] if x >= a[0]])

    qs([(i * 7919) % 1009 for i in range(800)])
    from array import array

    ar = array("d", [0.5] * 1000)
    sum(ar)
    ar[5] = 3.0
    memoryview(bytes(100))[3]


def ints():
    t = 0
    for i in range(25000):
        t += i * 3 % 7
        t ^= i
        t -= i // 3
        t = t & 0xFFFFFF
        t = (t << 1) | (t >> 3)
    x = 3**400
    y = x * x // 7
    str(x)
    x % 1000007
    pow(3, 1000, 1000007)
    divmod(x, y)
    int(str(x))
    -x
    x > y
    x == y
    bin(12345)
    hex(255)
    abs(-5)
    round(2.567, 2)
    a, b = 0, 1
    for _ in range(1500):
        a, b = b, a + b
    while a > 10:
        a //= 10

    def gcd(a, b):
        while b:
            a, b = b, a % b
        return a

    for i in range(1500):
        gcd(i * 12, i * 18 + 6)

    def collatz(n):
        k = 0
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            k += 1
        return k

    max(collatz(i) for i in range(1, 400))
    f = 1
    for i in range(1, 300):
        f *= i


def floats():
    import math
    import random
    import statistics

    random.seed(3)
    xs = [random.random() for _ in range(4000)]
    sum(xs) / len(xs)
    statistics.mean(xs[:300])
    statistics.stdev(xs[:300])
    [math.sqrt(x) + math.sin(x) * math.exp(x) - math.log(x + 1) for x in xs]
    random.shuffle(xs)
    random.sample(xs, 50)
    random.randint(1, 6)
    random.choice(xs)
    math.hypot(1, 2)
    math.floor(2.5)
    [round(x, 2) for x in xs[:1500]]
    [int(x * 100) for x in xs]
    sorted(xs)
    [f"{x:.3f}" for x in xs[:1000]]
    [str(x) for x in xs[:1000]]

    def mandel(c):
        z = 0j
        for n in range(40):
            if abs(z) > 2:
                return n
            z = z * z + c
        return 40

    for y in range(-10, 10):
        for x in range(-15, 5):
            mandel(complex(x / 10, y / 10))
    acc = 0.0
    for i in range(15000):
        acc += i * 0.5
        acc *= 0.999
        acc -= 1.0 / (i + 1)
        acc = -acc if acc > 1e6 else acc


def regexes():
    import re

    t = "Contact john.doe@mail.com or +1 (555) 010-9999 on 2024-05-17; visit https://ex.org/p?q=1&r=2. " * 150
    re.findall(r"\w+@\w+\.com", t)
    re.findall(r"\d{4}-\d\d-\d\d", t)
    re.sub(r"\d", "#", t)
    re.split(r"[;,.]\s*", t)
    [m.group(1) for m in re.finditer(r"(https?)://", t)]
    p = re.compile(r"^(\w+)\s+(\S+)", re.M)
    p.match(t).groups()
    re.search(r"(?i)VISIT", t)
    re.sub(r"(\w+)@(\w+)", lambda m: m.group(2), t)
    for i in range(300):
        re.match(r"(\d+)-(\w*)", f"{i}-abc")
        p.search(t)
    for i in range(6):
        re.compile(r"(a|b)*c{%d}[^x-z]+(?P<n>\d)" % i)


def jsons():
    import json
    import csv
    import io
    import pickle
    import copy
    import base64
    import hashlib
    import struct
    import zlib

    d = [
        {"id": i, "name": "user%d" % i, "tags": ["a", "b", None, True], "score": i / 3, "sub": {"x": 'é"\\n'}}
        for i in range(500)
    ]
    s = json.dumps(d)
    json.loads(s)
    json.dumps(d, indent=2, sort_keys=True)
    pickle.loads(pickle.dumps(d))
    copy.deepcopy(d[:60])
    f = io.StringIO()
    w = csv.writer(f)
    w.writerows([[i, "a,b", i * 0.5] for i in range(500)])
    list(csv.reader(io.StringIO(f.getvalue())))
    list(csv.DictReader(io.StringIO("a,b\n1,2\n" * 100)))
    base64.b64encode(s.encode())
    hashlib.sha256(s.encode()).hexdigest()
    hashlib.md5(s.encode()).digest()
    [struct.unpack("<IHd", struct.pack("<IHd", i, 2, 3.0)) for i in range(400)]
    zlib.decompress(zlib.compress(s.encode()))


def dates():
    from datetime import datetime, timedelta, date, timezone
    from decimal import Decimal
    from fractions import Fraction

    d = datetime(2024, 1, 1)
    for i in range(500):
        d += timedelta(hours=5)
        d.isoformat()
        d.weekday()
        d > datetime(2025, 1, 1)
    for i in range(50):
        d.strftime("%Y-%m-%d")
        datetime.strptime("2024-05-06", "%Y-%m-%d")
        datetime.fromisoformat("2024-05-06T01:02:03")
    x = Decimal("0.1")
    for i in range(800):
        x = x * Decimal("1.01") + Decimal(i)
    f = Fraction(0)
    for i in range(1, 60):
        f += Fraction(1, i)


def modern():
    from dataclasses import dataclass, field, asdict
    from enum import Enum
    from functools import lru_cache, reduce, partial
    import operator
    from typing import Optional

    @dataclass(order=True)
    class D:
        a: int
        b: str = "x"
        c: list = field(default_factory=list)

    class Color(Enum):
        RED = 1
        BLUE = 2

    ds = [D(i % 17, str(i)) for i in range(1000)]
    sorted(ds)
    ds[0] == ds[1]
    [asdict(d) for d in ds[:100]]
    repr(ds[0])
    Color(1)
    Color.RED.name
    [Color.RED is Color.BLUE for _ in range(100)]

    @lru_cache(None)
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    fib(150)
    reduce(operator.add, range(2000))
    add = partial(operator.mul, 3)
    [add(i) for i in range(1000)]

    def kind(x):
        match x:
            case {"t": 1, "v": v}:
                return v
            case [a, b, *_]:
                return a
            case D(a=3):
                return 3
            case int() | float():
                return 0
            case str(s) if s:
                return s
            case _:
                return None

    for i in range(500):
        kind({"t": 1, "v": 2})
        kind([1, 2, 3])
        kind(ds[3])
        kind(3)
        kind("s")
        kind(None)

    def f(a, b=2, *args, k=1, **kw):
        return a + b + k + len(args) + len(kw)

    for i in range(3000):
        f(1)
        f(1, 3)
        f(1, 2, 3, 4, k=5)
        f(1, z=3)
        f(*(1, 2), **{"k": 3})

    def outer():
        n = 0

        def inner():
            nonlocal n
            n += 1
            return n

        return inner

    g = outer()
    [g() for _ in range(3000)]

    def deco(fn):
        def w(*a, **k):
            return fn(*a, **k)

        return w

    @deco
    def plus(a, b):
        return a + b

    for i in range(3000):
        plus(i, 1)
    (n := 10)
    [y for x in range(300) if (y := x * 2) > 5]
    isinstance(3, (int, str))
    issubclass(bool, int)
    type(3)
    callable(f)
    getattr(f, "__name__")
    setattr(f, "q", 1)
    vars(ds[0])
    dir(ds[0])
    id(f)
    print("training", file=__import__("io").StringIO())
    for i in range(1000):
        isinstance(i, int)
        isinstance(i, (str, bytes))
        type(i) is int
        getattr(ds[0], "a")
        str(i)
        repr(i)
        abs(i)
        len([])
        bool(i)
        tuple([i])
        list((i,))
        dict(a=i)
        range(i)
        print(i, file=buf)


def asyn():
    import asyncio

    async def w(n):
        for _ in range(n):
            await asyncio.sleep(0)
        return n

    async def agen(n):
        for i in range(n):
            yield i

    async def main():
        await asyncio.gather(*[w(20) for _ in range(20)])
        q = asyncio.Queue()

        async def p():
            for i in range(200):
                await q.put(i)

        async def c():
            return [await q.get() for _ in range(200)]

        await asyncio.gather(p(), c())
        return [x async for x in agen(500)]

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def comp():
    import ast

    src = 'import os\nclass A:\n    def f(self, x=1, *a, **k):\n        """doc"""\n        try:\n            return [i for i in range(x) if i % 2] + self.g(x)[1:2]\n        except (ValueError, KeyError) as e:\n            raise RuntimeError(f"bad {e!r:>10}") from e\n\nfor i in range(10):\n    d = {"a": i, **{"b": 2}}\n    if i > 3 and not d or i == 2:\n        print(i, end="")\n    elif i: x = lambda y: y ** 2\n'
    for i in range(25):
        t = ast.parse(src * 3)
        compile(t, "f", "exec")
        ast.unparse(t) if i < 3 else None
        ast.dump(t) if i < 3 else None


def sql():
    import sqlite3

    c = sqlite3.connect(":memory:")
    c.execute("create table t(a,b)")
    c.executemany("insert into t values(?,?)", [(i, str(i)) for i in range(1000)])
    c.execute("select sum(a),count(*) from t where b like ?", ("1%",)).fetchall()
    c.execute("select * from t order by a desc").fetchall()


def richards():
    class Task:
        def __init__(s, i):
            s.id = i
            s.queue = []
            s.state = 0
            s.next = None

        def run(s, p):
            s.state = (s.state + p.kind) % 5
            p.data[p.pos % 4] = s.state
            p.pos += 1
            return s.next

    class Packet:
        def __init__(s, k):
            s.kind = k
            s.pos = 0
            s.data = [0] * 4
            s.link = None

    ts = [Task(i) for i in range(6)]
    for i in range(6):
        ts[i].next = ts[(i * 5 + 1) % 6]
    ps = [Packet(i) for i in range(4)]
    for _ in range(800):
        for p in ps:
            t = ts[p.pos % 6]
            for _ in range(4):
                t = t.run(p)
                if t is None or t.state == 3:
                    t = ts[0]


def queens(n=7):
    r = []

    def place(row, cols, d1, d2, acc):
        if row == n:
            r.append(acc)
            return
        for c in range(n):
            if c in cols or row + c in d1 or row - c in d2:
                continue
            place(row + 1, cols | {c}, d1 | {row + c}, d2 | {row - c}, acc + [c])

    place(0, frozenset(), frozenset(), frozenset(), [])
    return len(r)


def trees():
    class N:
        def __init__(s, l, r):
            s.l = l
            s.r = r

    def make(d):
        return N(None, None) if d == 0 else N(make(d - 1), make(d - 1))

    def chk(n):
        return 1 if n.l is None else 1 + chk(n.l) + chk(n.r)

    chk(make(11))

    def t(d):
        return None if d == 0 else (t(d - 1), t(d - 1))

    t(11)
    g = {i: [(i * 3 + 1) % 500, (i * 7 + 2) % 500] for i in range(500)}
    from collections import deque

    seen = {0}
    q = deque([0])
    while q:
        x = q.popleft()
        for y in g[x]:
            if y not in seen:
                seen.add(y)
                q.append(y)
    memo = {}

    def lcs(i, j, a="ABCBDABXYZ" * 4, b="BDCABAQYZX" * 4):
        if i < 0 or j < 0:
            return 0
        if (i, j) in memo:
            return memo[i, j]
        v = lcs(i - 1, j - 1) + 1 if a[i] == b[j] else max(lcs(i - 1, j), lcs(i, j - 1))
        memo[i, j] = v
        return v

    lcs(39, 39)


buf = io.StringIO()
acc = 0
for i in range(15000):
    acc += i * 2
    if i % 3:
        acc -= 1
names = ["a", "b", "c"]
for k in range(4000):
    w = names[k % 3]
    acc += len(w)
for f in (
    nbody,
    fannkuch,
    sieve,
    fibm,
    classes,
    gens,
    excs,
    strs,
    dicts,
    lists,
    ints,
    floats,
    regexes,
    jsons,
    dates,
    modern,
    asyn,
    comp,
    sql,
    richards,
    queens,
    trees,
):
    for _ in range(3):
        t0 = time.perf_counter()
        f()
        t1 = time.perf_counter()
    print(f.__name__, round((t1 - t0) * 1000, 1))
gc.collect()
P.dump()
