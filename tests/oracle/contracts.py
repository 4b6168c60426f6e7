"""An oracle of contracts: what became of each, from the rules alone ("page 16" is rule 16 of docs/contracts.md).

Written from the domain (R1 to R15), the data contract and the page of rules only, without sight of the project's code.
Plain loops, no speed. `tell()` walks each family of accounts through the days on which something changes, joins what
follows what, keeps what is final, and closes each month on the day it becomes final.

Where the page leaves something open:

 1. Quarantine: a row without id, account, start or ARR, with a negative ARR, an end before its start, an unknown
    account (where accounts are given), or an exact duplicate is left out and named in the notes.
 2. Page 2: with a `recorded_at`, an unsigned row where others are signed is known from the later of it and its start.
 3. Page 3: the start stays once the term has begun. Page 4: a row belongs to the term of the same start, else to the
    one before it, else to the one after it; "ended" is the earlier of the end and the cancellation of the newest row
    of that term, if it was cancelled by the day on which the new row became known.
 4. Page 5: a cancellation of an unsigned contract is never ignored.
 5. Page 6: by `request` an open contract still ends on the cancellation. `notice_given_at` changes nothing here.
 6. Page 8: a follow-on of a final outcome that is deleted is lost in the ledger, and its customer is lost; the amount
    is `correction`. An outcome and a pair that are final stay told, also if a contract of theirs is deleted.
 7. Page 9: only while the newest version is free. What is free in all its versions is a free contract.
 8. Page 10: an end moved before or on the start is no renewal. A renewal in place that is cancelled on or before its
    start, while the outcome before it is pending, never was. Half is of the length as contracted. Once another
    contract follows, a later end changes nothing. A new term from the day it became known is as long as from the old
    end.
 9. Page 11: of the rules all are tried among paid contracts before any with a free old one.
10. Page 13: several that follow one by rules 1 to 3: those that start first, all of that day; the nearest end is
    followed, then the latest start, by rule 2 the same product first. What is followed at its end is followed with
    what has its dates, product and ids, of the same account or subscription or order.
11. Page 14: an order does not reach across accounts (page 13). A ramp found by rule 1 or 2 is a ramp.
12. Page 15: also what has a partner by another rule, if the other of the two has none; but no old one that was
    amended, or replaced before the grace.
13. Page 15, 16, 17: by rules 4 and 5 the new one ends later than the old, unless the old one was cancelled.
14. Page 17: each in turn, the largest first, that ends earlier and for which there is room beside those replaced so
    far: by seats where all these have them, else by ARR. Contracts of the same dates are one, old and new. Only what
    follows nothing by rules 1 to 5 is judged. One kept as two is joined later only if cancelled (not if its end was
    moved).
15. Page 18: "that of the old one" is the end as known before the day the new one became known, not the cancellation;
    that of an open one is its cancellation.
16. Page 19: the terms are those of paid contracts, known by that first of month, a payment counts if dated before it;
    the last 20 by start; fewer if there are no more; rows of one account and product with the same dates are one.
    "Decided": when the grace of the old one has passed, and on the last day. Steps of a ramp and free follow-ons are
    not asked. What follows a contract that lapsed is joined anew.
17. Page 21: a loss by a late paper is `correction`, though lost in the ledger and a lost customer. A pair across
    accounts moves the amount as a merger does, and its old account is not a lost customer; nor is that of a lapsed
    renewal, where another contract goes on with what it would have followed.
18. Page 22: a contraction of what goes on is "everything else". What comes back from a pause is valued as at the
    opening, and then changed by the rates.
19. Page 23: too late by rules 1 to 5 when it became known, and the old one lost. Known only after its own end it never
    was: it is not due, and nothing follows it.
20. Page 24: of several follow-ons the largest takes over, those of the same dates together, then the earliest. A step
    and another change: the step is `contracted`.
21. Page 25: "shortly before" is within the grace, unless a follow-on started before the pause, or the pause with the
    term. Rule 5 counts from the end of the pause, rule 4 from either. An open pause waits for ever.
22. Mergers: `merged_at` is its own known time, together with `recorded_at`, else `created_at`. Pairs use all mergers
    known; amounts go on the day. The account is not lost if the heir is a customer. The ledger names the account on
    the due day.
23. R10: a one-off row has no ARR, is not due, follows nothing. A paid trial or pilot is an ordinary contract; a free
    row that is no trial is due, with amount 0. Which it is is judged on the day on which it became known.
24. R15: rolling by contracted length below 90 days (a ramp: all steps), or no end.
25. `amount_due` is the ARR on the last day before the due day (and before the term's own end). Of several follow-ons
    the ledger names the first by start and id.
26. R6: up-sell is more seats, or another plan (or product, in a pair) with more ARR, in a follow-on (several as one),
    an amendment or a version; or one more contract of a product that the account pays for. A higher ARR alone is
    price. Cross-sell is a product never paid for before, by an account that is a customer the day before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from math import floor
from types import SimpleNamespace

FAR = date(9000, 1, 1)  # stands for "no end"


@dataclass(frozen=True)
class Rules:
    before_days: int = 90
    after_days: int = 60
    payment: str = "auto"  # auto | required | ignored
    payment_days: int = 90
    overlap: str = "default"  # default | two | replace
    renamed_products: dict = field(default_factory=dict)
    cancelled_means: str = "end"  # end | request
    reporting_currency: str = "USD"


@dataclass
class Story:
    pairs: list
    ledger: list
    months: list
    expansions: list
    notes: list


def to_day(x):
    if x is None:
        return None
    return x.date() if isinstance(x, datetime) else x


def days(n):
    return timedelta(days=n)


def year_before(first):
    return first.replace(year=first.year - 1)


def same_product(a, b):
    return a.account == b.account and a.product == b.product


def month_of(day):
    return day.replace(day=1)


def next_month(day):
    return (day.replace(day=1) + days(32)).replace(day=1)


# The papers: versions of contracts, mergers, rates


class Contract:
    """One contract as known on a day: its versions known by then, oldest first."""

    def __init__(self, uid, versions, account):
        self.uid, self.versions, self.account = uid, versions, account  # the account after mergers
        self.first, self.newest = versions[0], versions[-1]
        self.id, self.product, self.start = self.newest.id, self.newest.product, self.first.start
        for v in versions[1:]:
            if v.known < self.start:  # page 3: once it has begun, its start stays
                self.start = v.start
        self.known = self.first.known
        self.free = all(v.arr == 0 for v in versions)
        self.role = "contract"  # contract | trial | pause | one_off
        self.deleted = False

    def on(self, day):
        """The version that holds on a day (pauses left out: what is paused keeps its amount)."""
        fit = [v for v in self.versions if v.valid <= day and v.kind != "pause"]
        return fit[-1] if fit else self.first

    def paused_on(self, day):
        fit = [v for v in self.versions if v.valid <= day]
        return bool(fit) and fit[-1].kind == "pause"

    def free_from(self):
        """Page 9: the day from which a paid contract is free, or FAR."""
        day = FAR
        for v in reversed(self.versions):
            if v.arr > 0 or v.kind == "pause":
                return day
            day = v.valid
        return FAR


@dataclass
class Term:
    """A stretch of one contract that comes due once. A renewal in place, or a version known too late, makes several."""

    contract: Contract
    k: int
    start: date
    end: date  # as contracted
    stop: date = FAR  # as it ended: cancelled, renewed in place ...
    revenue_from: date | None = None  # known too late, or paid too late; FAR: never
    in_place: bool = False  # the term before it was renewed in place

    @property
    def key(self):
        return (self.contract.uid, self.k)


@dataclass(frozen=True)
class Pair:
    old: tuple  # key of a term
    new: tuple
    rule: str
    kind: str  # renewal | amendment | ramp: the old term is due only in a renewal
    replaced: bool = False  # due on the day the new one starts


class World:
    """Everything that is not about one customer: the papers, mergers, rates, and from when payment is asked."""

    def __init__(self, tables, rules, told_on):
        self.rules = rules
        self.notes = []
        self.accounts = tables.get("accounts") or []
        self.rates = tables.get("rates") or []
        self.versions = self.read_contracts(tables.get("contracts") or [], told_on)
        self._terms_by = {}
        self._mergers = {}

    def read_contracts(self, rows, told_on):
        known_accounts = {a.get("account_id") for a in self.accounts}
        someone_signed = any((to_day(r.get("signed_at")) or FAR) < told_on for r in rows)
        found, seen = {}, []
        for number, r in enumerate(rows):
            start, end = to_day(r.get("start_date")), to_day(r.get("end_date"))
            broken = (
                r.get("contract_id") is None
                or r.get("account_id") is None
                or (known_accounts and r.get("account_id") not in known_accounts)
                or start is None
                or (end is not None and end < start)
                or r.get("arr") is None
                or r.get("arr") < 0
                or r in seen
            )
            if broken:
                self.notes.append(f"left out, it breaks the data contract: contract {r.get('contract_id')}")
                continue
            seen.append(r)
            signed, recorded = to_day(r.get("signed_at")), to_day(r.get("recorded_at"))
            if signed is not None:
                known = max(signed, recorded or signed)
            elif someone_signed:
                known = max(start, recorded or start)
            else:
                known = recorded or start
            version = SimpleNamespace(
                id=r["contract_id"],
                account=r["account_id"],
                product=self.product(r.get("product") or "core"),
                plan=r.get("plan"),
                start=start,
                end=end or FAR,  # FAR: without an end
                arr=float(r["arr"]),
                currency=r.get("currency") or self.rules.reporting_currency,
                seats=r.get("seats"),
                kind=r.get("kind") or "subscription",
                signed=signed,
                paid=to_day(r.get("paid_at")),
                cancelled=to_day(r.get("cancelled_at")),
                deleted=to_day(r.get("deleted_at")),
                subscription=r.get("subscription_id"),
                order=r.get("order_id"),
                replaces=r.get("replaces_contract_id"),
                known=known,  # the day it became known
                valid=to_day(r.get("valid_from")),  # it changes nothing before this day
            )
            if version.end >= FAR:
                version.end = FAR
            if signed and version.cancelled and version.cancelled < min(signed, start):
                version.cancelled = None  # page 5
            version.bare = r.get("recorded_at") is None and version.valid is None
            order = (known, r.get("recorded_at") or datetime.min, number)
            found.setdefault(version.id, []).append((order, version))
        versions = {}  # (id, number) -> versions of one term (page 4), oldest first
        for cid, rows_of in found.items():
            terms = []
            for _, v in sorted(rows_of, key=lambda p: p[0]):
                term = self.term_of(v, terms)
                if term is None:
                    term = []
                    terms.append(term)
                v.valid = v.valid or (v.known if term else date.min)
                term.append(v)
            for n, term in enumerate(terms):
                versions[(cid, n)] = term
        return versions

    @staticmethod
    def term_of(v, terms):
        """Page 4: the term of which this row is a version, or None: it is a term of its own."""
        ended = {}
        for term in terms:
            cancelled = term[-1].cancelled
            ended[id(term)] = term[-1].end if cancelled is None or cancelled > v.known else min(term[-1].end, cancelled)
        same = [term for term in terms if term[-1].start == v.start]
        before = [term for term in terms if term[-1].start < v.start]
        if same:
            return same[-1]
        if before:
            term = max(before, key=lambda term: term[-1].start)
            return None if v.bare or v.start >= ended[id(term)] - days(3) else term
        if terms:
            term = min(terms, key=lambda term: term[-1].start)
            return None if v.bare or term[-1].start >= min(v.end, v.cancelled or FAR) - days(3) else term
        return None

    def product(self, name):
        seen = set()
        while name in self.rules.renamed_products and name not in seen:
            seen.add(name)
            name = self.rules.renamed_products[name]
        return name

    def mergers(self, t):
        """account -> (heir, day), as known before t: the newest row of the account that is known."""
        if t not in self._mergers:
            newest = {}
            for number, a in enumerate(self.accounts):
                recorded = to_day(a.get("recorded_at") or a.get("created_at"))
                if recorded is not None and recorded >= t:
                    continue
                order = (a.get("recorded_at") or datetime.min, number)
                if a["account_id"] not in newest or order > newest[a["account_id"]][0]:
                    newest[a["account_id"]] = (order, a)
            merged = {}
            for account, (_, a) in newest.items():
                day = to_day(a.get("merged_at") or a.get("recorded_at") or a.get("created_at")) or date.min
                if a.get("merged_into_account_id") is not None and day < t:
                    merged[account] = (a["merged_into_account_id"], day)
            self._mergers[t] = merged
        return self._mergers[t]

    def heir(self, account, t, day=FAR):
        """The last account of the chain of mergers that had happened by `day`, as known before t."""
        merged, seen = self.mergers(t), set()
        while account in merged and merged[account][1] <= day and account not in seen:
            seen.add(account)
            account = merged[account][0]
        return account

    def contracts_at(self, uids, t, kept=()):
        """The contracts that exist for t: known strictly before it, and not deleted before it (page 8)."""
        out = {}
        for uid in uids:
            seen = [v for v in self.versions[uid] if v.known < t]
            deleted = bool(seen) and seen[-1].deleted is not None and seen[-1].deleted < t
            if seen and (not deleted or uid in kept):
                out[uid] = c = Contract(uid, seen, self.heir(seen[-1].account, t))
                c.deleted = deleted
        for c in out.values():
            if {v.kind for v in c.versions} == {"pause"}:
                c.role = "pause"
            elif c.newest.kind == "one_off":
                c.role = "one_off"
        paid = [c for c in out.values() if c.role == "contract" and not c.free]
        for c in out.values():
            if c.role == "contract" and c.free:  # judged by what was known on the day on which it became known
                when = c.known + days(1)
                mine = [o for o in paid if o.product == c.product and o.start < c.start and o.known < when]
                before = any(self.heir(o.first.account, when) == self.heir(c.first.account, when) for o in mine)
                short = c.first.end - c.start <= days(90)
                if c.first.kind in ("trial", "pilot") or (short and not before):
                    c.role = "trial"
        return out

    def stop_of(self, v, t):
        """When a version says that the contract ends, as known before t."""
        if v.cancelled is None or v.cancelled >= t:
            return v.end
        if self.rules.cancelled_means == "request" and v.end != FAR:
            return v.end
        return min(v.end, v.cancelled)

    def asks_payment(self, c, day):
        """Page 19: whether it is asked when that is decided on a day."""
        if self.rules.payment != "auto":
            return self.rules.payment == "required"
        first, by = month_of(c.start), month_of(day)
        if by not in self._terms_by:
            there = self.contracts_at(self.versions, by).values()
            found = {}  # rows of one account and product with the same dates are one term
            for x in there:
                if x.role == "contract" and not x.free:
                    paid = x.newest.paid is not None and x.newest.paid < by
                    key = (x.start, x.first.end, x.first.account, x.product)
                    found[key] = SimpleNamespace(start=x.start, paid=paid or (key in found and found[key].paid))
            self._terms_by[by] = sorted(found.values(), key=lambda x: (x.start, x.paid))
        earlier = [x for x in self._terms_by[by] if x.start < first]
        year = [x for x in earlier if x.start >= year_before(first)]
        asked = year if len(year) >= 20 else earlier[-20:]
        return len(asked) >= 5 and sum(x.paid for x in asked) * 100 >= 80 * len(asked)

    def rate(self, currency, day, t):
        if currency == self.rules.reporting_currency:
            return 1.0
        known = sorted(
            (to_day(r["date"]), float(r["rate"]))
            for r in self.rates
            if r["currency"] == currency and to_day(r["date"]) < t
        )
        before = [rate for d, rate in known if d <= day]
        if before:
            return before[-1]
        return known[0][1] if known else 1.0

    def has_rate(self, currency, t):
        quoted = {r["currency"] for r in self.rates if to_day(r["date"]) < t}
        return currency == self.rules.reporting_currency or currency in quoted

    def cents(self, arr, currency, day, t):
        return floor(arr * self.rate(currency, day, t) * 100 + 0.5)  # half a cent is a cent

    def final_on(self, month):
        return next_month(month) + days(self.rules.after_days)


# One family of accounts (those that are joined by mergers, ids and subscriptions), and what is settled about it so far

NAMES = ("replaces", "subscription", "order", "ramp", "adjacent", "grace", "overlap")  # the rules of R10, in order


class Family:
    def __init__(self, world, uids):
        self.world, self.rules, self.uids = world, world.rules, uids
        self.after = days(self.rules.after_days)
        self.pairs = []  # what is joined: it stays
        self.final = {}  # key of a term -> its ledger entry, never changed again
        self.followed = set()  # contracts that followed something of which the outcome is final
        self.counted = set()  # contracts that ran in a final month
        self.judged = set()  # contracts about which page 17 was asked
        self.two = set()  # ... and what it found to be two: (key of the old term, contract)
        self.lapsed = {}  # follow-ons that were not paid in time -> keys of what they followed
        self.late = set()  # contracts known too late to follow
        self.final_from = {}  # ... and the day on which it was settled
        self.known_from = {}  # pair -> the first day on which it was known

    def look(self, t):
        """The family as known before t, given what it was before."""
        self.t = t
        while True:
            self.contracts = self.world.contracts_at(self.uids, t, self.followed | {key[0] for key in self.final})
            terms = [x for c in self.contracts.values() if c.role in ("contract", "trial") for x in self.terms_of(c)]
            self.terms = {term.key: term for term in terms}
            self.keep_pairs()
            before = (len(self.pairs), len(self.late), len(self.lapsed))
            self.lapse()
            if len(self.lapsed) == before[2]:
                for free in (False, True):  # page 11: of a paid contract if it can, else of a free one
                    for name in NAMES[:-1]:
                        self.join_by(name, free)
                self.judge_overlaps()  # only what follows nothing by the other rules
                self.judged |= {c.uid for c in self.contracts.values() if max(c.start, c.known) < t}
                self.find_late()
            if before == (len(self.pairs), len(self.late), len(self.lapsed)):
                break
        self.known_from = {p: self.known_from.get(p, t) for p in self.pairs}
        for term in terms:
            entry = self.entry(term)
            if entry is not None and entry["outcome"] != "pending":
                self.final[term.key], self.final_from[term.key] = entry, t
                if entry["outcome"] == "renewed":
                    self.followed |= {new.contract.uid for new in self.follow_ons(term)}

    # terms (pages 6 to 10)

    def terms_of(self, c):
        terms = [Term(c, 0, c.start, c.first.end)]
        for v in c.versions[1:]:
            self.move_end(terms, v)
        stop = min(self.world.stop_of(c.newest, self.t), c.free_from())
        while terms[-1].in_place and stop <= terms[-1].start and terms[-2].key not in self.final:
            terms.pop()
        last = terms[-1]
        last.stop = max(last.start, min(last.end, stop))
        if self.final.get(last.key, {}).get("outcome") == "churned":
            last.stop = self.final[last.key]["due_at"]
        c.deleted = c.deleted and last.key not in self.final  # page 8: what is final stays told
        if c.deleted:
            last.stop = last.start
        if c.uid in self.late:
            terms[0].revenue_from = c.known
        if c.uid in self.lapsed:
            paid = c.newest.paid
            terms[0].revenue_from = paid if paid is not None and paid < self.t else FAR
        if last.k == 0 and last.stop <= last.start < last.end and c.uid not in self.followed | self.counted:
            return []  # it never ran
        return terms

    def move_end(self, terms, v):
        """Page 10: the last of the terms as a new version has it, or one more."""
        term, stop = terms[-1], self.world.stop_of(v, self.t)
        again = Term(term.contract, term.k + 1, term.end, v.end, revenue_from=v.known)
        if term.key in self.final and v.known >= self.final_from[term.key]:
            entry = self.final[term.key]
            if entry["outcome"] == "churned" and stop > entry["due_at"] and v.end > term.end and v.arr > 0:
                term.stop = entry["due_at"]
                terms.append(again)
            return
        if stop <= min(v.known, term.end) < v.end:
            return  # cancelled before the new end was known
        if v.end > term.end and v.known >= self.followed_from(term):
            return  # another contract follows already
        deleted = term.contract.newest.deleted
        ended = self.final[term.key]["due_at"] if term.key in self.final else term.start
        if deleted is not None and deleted < self.t and ended <= term.start:
            return  # page 8: it ended on its start
        half = (term.end - term.start) / 2
        if min(v.end, v.known) > add(term.end, self.after):
            term.stop = term.end  # known after the grace, though the old end was never due
            terms.append(again)
        elif v.known <= term.start or v.end <= term.end or v.end - term.end < half:
            term.end = v.end  # not begun, moved nearer, or an extension: the due day moves with it
        else:
            term.stop = min(v.known, term.end)
            terms.append(Term(term.contract, term.k + 1, term.stop, v.end, in_place=True))

    def followed_from(self, term):
        """The first day on which it was known that another contract follows, or FAR."""
        mine = [p for p in self.pairs if p.old == term.key and p.rule != "in_place"]
        return min((self.known_from.get(p, self.t) for p in mine), default=FAR)

    def follow_ons(self, term):
        return [self.terms[p.new] for p in self.pairs if p.old == term.key and p.new in self.terms]

    def main_follow_on(self, term):
        """Page 24: the largest of several, those of the same dates together, and of these the earliest."""
        news = sorted(self.follow_ons(term), key=lambda new: (new.start, new.end, str(new.key)))
        money = [sum(self.sizes([x], x.start)[1] for x in news if same_dates(x, new)) for new in news]
        return news[money.index(max(money))]

    def ended(self, term):
        """The end of a term, or of the pauses that it ends in or shortly before (page 25)."""
        end, again = term.stop, True
        starts = [new.start for new in self.follow_ons(term)]
        while again:
            again = False
            for p in self.contracts.values():
                if p.role != "pause" or not same_product(p, term.contract) or p.start <= term.start:
                    continue
                stop = self.world.stop_of(p.newest, self.t)
                near = p.start <= add(end, self.after) and not any(s < p.start for s in starts)
                if near and p.start < stop and stop > end:
                    end, again = stop, True
        return end

    def due_day(self, term):
        """None: never due."""
        pairs = [p for p in self.pairs if p.old == term.key and p.new in self.terms]
        if not pairs:
            return self.ended(term)
        renewals = [p for p in pairs if p.kind == "renewal"]
        if not renewals:
            return None
        if renewals[0].rule == "in_place":
            return term.stop
        first = min(self.terms[p.new].start for p in renewals)
        early = first < term.stop - self.before(term, term.end, self.rules.before_days)
        return first if early else self.ended(term)

    # what follows what (pages 11 to 18)

    def keep_pairs(self):
        """Page 12: what is joined stays, unless the new one never ran, or starts after the grace of an earlier end."""
        kept = []
        for p in self.pairs:
            old, new = self.terms.get(p.old), self.terms.get(p.new)
            gone = old is None or new is None or p.new[0] in self.lapsed or never_was(old)
            if p.old in self.final or not (
                p.rule == "in_place" or gone or new.start > add(self.ended(old), self.after)
            ):
                kept.append(p)
        for old in self.terms.values():
            new = self.terms.get((old.contract.uid, old.k + 1))
            pair = Pair(old.key, new.key, "in_place", "renewal") if new is not None and new.in_place else None
            if pair is not None and pair not in kept:
                kept.append(pair)
        self.pairs = kept

    def olds(self, free):
        out = []
        for term in self.terms.values():
            c = term.contract
            runs = not never_was(term) and (c.uid, term.k + 1) not in self.terms
            if c.role == "contract" and c.free == free and runs and term.key not in self.final:
                out.append(term)
        return out

    def news(self, free):
        """First terms that may follow a term that is free, or not."""
        out = []
        for term in self.terms.values():
            c = term.contract
            shut = c.uid in self.lapsed or c.uid in self.late or c.role != "contract" or c.deleted
            paid_old = any(p.new == term.key and not world_free(self, p.old) for p in self.pairs)
            if term.k == 0 and not shut and not (c.free and not free) and not (free and paid_old):
                out.append(term)
        return out

    def join_by(self, name, free):
        found = []
        for old in self.olds(free):
            for new in self.news(free):
                near = self.fits(name, old, new)
                in_time = new.contract.known <= max(add(self.ended(old), self.after), old.contract.known)
                if near is not None and in_time:
                    first = (near, self.ended(old), new.contract.known)
                    found.append((first, str(new.key), str(old.key), old, new))
        for *_, old, new in sorted(found, key=lambda f: f[:3]):
            if self.may_join(name, old, new):
                pair = self.make_pair(name, old, new)
                self.pairs.append(pair)
                near_end = new.start >= old.stop - self.before(old, old.end, self.rules.before_days)
                whole = pair.kind == "renewal" or (pair.kind == "amendment" and near_end)
                if whole and not pair.replaced:  # with what has the same dates: one contract
                    for twin in self.olds(free):
                        ids = [(x.subscription, x.order) for x in (twin.contract.newest, old.contract.newest)]
                        alike = twin.contract.product == old.contract.product and ids[0] == ids[1]
                        alike = alike and (twin.contract.account == old.contract.account or ids[0] != (None, None))
                        alike = alike and same_dates(twin, old) and twin.stop == old.stop
                        if alike and name in NAMES[:3] and not self.pairs_from(twin) and new.start > twin.start:
                            self.pairs.append(self.make_pair(name, twin, new))

    def may_join(self, name, old, new):
        """Whether nothing stands against it in what is joined already."""
        out, into = [p for p in self.pairs if p.old == old.key], [p for p in self.pairs if p.new == new.key]
        if not out and not into:
            return True
        fits = False
        if name in NAMES[:4]:  # several that follow one on the same day
            fits = not into and all(self.terms[p.new].start == new.start for p in out)
        elif name == "adjacent":  # page 15: all with all; what was amended, or replaced early, has its follow-on
            is_open = all(p.kind == "renewal" and not p.replaced for p in out)
            is_open &= all(p.kind == "renewal" and p.rule != "in_place" for p in into)
            is_open &= len({x.contract.newest.subscription for x in (old, new)} - {None}) < 2
            fits = is_open and (all(p.rule == name for p in out) or all(p.rule == name for p in into))
        elif all(p.rule == name for p in out + into):  # page 16: one end, and the same dates, are one
            one_end = all(self.ended(self.terms[p.old]) == self.ended(old) for p in into)
            one_end &= all(p not in self.known_from for p in into)  # as known when it was joined
            fits = one_end and all(same_dates(self.terms[p.new], new) for p in out)
        return fits and not any(p.new == new.key for p in out)

    def before(self, old, end, most):
        """How many days before an end something may start that only renews."""
        return min(days(most), (end - old.start) / 2)

    def fits(self, name, old, new):  # noqa: PLR0911
        """None, or how near the two are by this rule (a tuple, smaller is nearer)."""
        o, n = old.contract, new.contract
        if o.uid == n.uid or new.start < old.start or (new.start == old.start and name != "replaces"):
            return None
        ended = self.ended(old)
        if new.start > add(ended, self.after):
            return None
        gap = min(abs(new.start - old.stop), abs(new.start - ended))
        latest = (new.start, gap, new.start - old.start)  # the new ones in order, each after the nearest and latest end
        if name == "replaces":
            return latest if n.newest.replaces == o.id else None
        if name == "subscription":
            one = o.newest.subscription is not None and o.newest.subscription == n.newest.subscription
            other = o.product != n.product
            fits = (one or o.id == n.id) and (not other or gap <= days(3))
            return (new.start, other, gap, new.start - old.start) if fits else None
        if not same_product(o, n):
            return None
        if name == "order":
            return latest if o.newest.order is not None and o.newest.order == n.newest.order else None
        if name == "ramp":
            return latest if self.is_ramp(old, new) else None
        if new.end <= old.end and old.stop == old.end:
            return None  # it does not reach beyond the end
        if (old.key, n.uid) in self.two and old.stop == old.end:
            return None  # page 17
        if name == "grace":
            return (gap,) if new.start >= ended - self.before(old, old.end, self.rules.before_days) else None
        near = [new.start - end for end in (old.stop, ended)]
        return (gap,) if any(-self.before(old, old.end, 3) <= n <= days(3) for n in near) else None

    def is_ramp(self, old, new):
        a, b = old.contract, new.contract
        one_day = a.first.signed is not None and a.first.signed == b.first.signed <= old.start
        return same_product(a, b) and abs(new.start - old.stop) <= days(3) and one_day and old.k == 0

    def make_pair(self, name, old, new):
        if self.is_ramp(old, new):
            return Pair(old.key, new.key, name, "ramp")
        then = [v.end for v in old.contract.versions if v.known < new.contract.known]
        planned = (then or [old.contract.first.end])[-1]
        planned = old.stop if planned == FAR else planned  # page 18: an open one ends when it is cancelled
        if new.end <= planned:
            return Pair(old.key, new.key, name, "amendment")
        early = new.start < planned - self.before(old, planned, self.rules.before_days)
        return Pair(old.key, new.key, name, "renewal", early and name not in ("adjacent", "grace"))

    def judge_overlaps(self):
        """Page 17: once, when the new contract is known and has started."""
        waiting = [n for n in self.news(True) if n.contract.uid not in self.judged]
        waiting = [n for n in waiting if max(n.start, n.contract.known) < self.t]
        for new in sorted(waiting, key=lambda n: (max(n.start, n.contract.known), str(n.key))):
            if any(p.new == new.key for p in self.pairs):
                continue
            day = max(new.start, new.contract.known)
            olds = self.olds(True) + ([] if new.contract.free else self.olds(False))
            there = [old for old in olds if same_product(old.contract, new.contract)]
            there = [old for old in there if old.start < new.start < old.stop]
            there = [old for old in there if all(same_dates(self.terms[p.new], new) for p in self.pairs_from(old))]
            bought = [x for x in self.terms.values() if same_dates(x, new) and same_product(x.contract, new.contract)]
            taken, groups = [], {}  # contracts of the same dates are one
            for old in there:
                groups.setdefault((old.start, old.end), []).append(old)
            for _, group in sorted(groups.items(), key=lambda g: (-self.sizes(g[1], day)[1], g[0])):
                both = [self.sizes(terms, day) for terms in (bought, [*taken, *group])]
                by = 1 if None in (both[0][0], both[1][0]) else 0
                comparable = by == 0 or self.are_comparable([*bought, *taken, *group], [*taken, *group])
                fits = new.end > group[0].end and comparable and both[0][by] >= both[1][by]
                if self.rules.overlap == "replace" or (self.rules.overlap == "default" and fits):
                    taken += group
            for old in there:
                if old in taken:
                    self.pairs.append(self.make_pair("overlap", old, new))
                else:
                    self.two.add((old.key, new.contract.uid))

    def are_comparable(self, terms, olds):
        """Page 17: money in one currency or with rates, or nothing to be replaced but free contracts."""
        if all(term.contract.free for term in olds):
            return True
        currencies = {term.contract.versions[-1].currency for term in terms}
        return len(currencies) == 1 or all(self.world.has_rate(currency, self.t) for currency in currencies)

    def pairs_from(self, old):
        return [p for p in self.pairs if p.old == old.key and p.new in self.terms]

    def sizes(self, terms, day):
        """Seats (None if one of them has none) and money of terms on a day."""
        versions = [term.contract.on(day) for term in terms]
        seats = [v.seats for v in versions]
        money = sum(self.world.cents(v.arr, v.currency, day, self.t) for v in versions)
        return (None if None in seats else sum(seats)), money

    def find_late(self):
        """Page 23: what would have followed, had it been known before the loss was final."""
        for new in self.news(True):
            if any(p.new == new.key for p in self.pairs) or new.contract.known < self.t - days(1):
                continue
            for old in self.terms.values():
                lost = old.contract.role == "contract" and self.final.get(old.key, {}).get("outcome") == "churned"
                free = new.contract.free and not old.contract.free
                too_late = new.contract.known > max(add(self.ended(old), self.after), old.contract.known)
                if lost and not free and too_late and any(self.fits(n, old, new) is not None for n in NAMES[:-1]):
                    self.late.add(new.contract.uid)

    # payment (page 19)

    def payment(self, pair):
        """paid (or not asked), waiting, or unpaid"""
        c = self.terms[pair.new].contract
        limit, paid = c.start + days(self.rules.payment_days), c.newest.paid
        passed = add(self.ended(self.terms[pair.old]), self.after)
        # It is asked when the grace has passed, and on the last day.
        decided = limit if self.t > limit else min(self.t - days(1), passed)
        if pair.kind != "renewal" or pair.rule == "in_place" or c.free or not self.world.asks_payment(c, decided):
            return "paid"
        if paid is not None and paid < self.t and paid <= limit:
            return "paid"
        return "unpaid" if self.t > limit else "waiting"

    def lapse(self):
        for p in self.pairs:
            if p.old not in self.final and self.payment(p) == "unpaid":
                self.lapsed[p.new[0]] = [q.old for q in self.pairs if q.new == p.new]

    # what came due, and what ran

    def entry(self, term):
        """The line of the ledger of a term that is due and not final, or None."""
        c, day = term.contract, self.due_day(term)
        if c.role != "contract" or term.key in self.final or day is None or day >= self.t or never_was(term):
            return None
        news = sorted(self.follow_ons(term), key=lambda new: (new.start, str(new.key)))
        mine = [p for p in self.pairs if term.key in (p.old, p.new) and p.old in self.terms and p.new in self.terms]
        waits = any(self.payment(p) == "waiting" for p in mine)  # page 19: itself too, until it is paid
        pending = self.t <= day + self.after or waits
        first = term
        for _ in self.terms:  # back to the first step of a ramp
            steps = [p.old for p in self.pairs if p.new == first.key and p.kind == "ramp" and p.old in self.terms]
            first = self.terms[steps[0]] if steps else first
        v = c.on(day - days(1))
        return {
            "contract_id": c.id,
            "account_id": self.world.heir(c.newest.account, self.t, day),
            "start_date": first.start,
            "end_date": None if term.end == FAR else term.end,
            "due_at": day,
            "outcome": "pending" if pending else "renewed" if news else "churned",
            "rolling": self.is_rolling(term, first),
            "booked_month": None,
            "amount_due": self.world.cents(v.arr, v.currency, day, self.t),
            "follow_on_id": news[0].contract.id if news else None,
        }

    def is_rolling(self, term, first):
        """No end, or short with all steps; not what ends with a longer one of the same account and product."""
        if term.end == FAR or term.end - first.start >= days(90):
            return term.end == FAR
        others = [x for x in self.terms.values() if x.contract.role == "contract" and not never_was(x)]
        longer = [x for x in others if x.end == term.end and x.end - x.start >= days(90)]
        return not any(same_product(x.contract, term.contract) for x in longer)

    def span(self, term):
        """From when to when a term is what counts (page 24)."""
        start = term.revenue_from or term.start
        if self.follow_ons(term):
            return start, max(start, self.main_follow_on(term).start)
        if term.key in self.final:
            return start, max(start, self.final[term.key]["due_at"])  # final for ever, whatever pause is known later
        day = self.ended(term)
        return start, day if self.t > add(day, self.after) else FAR

    def lines(self):
        """Terms that are joined by pairs, with those they are joined to: lists of terms."""
        line_of = {key: [term] for key, term in self.terms.items()}
        for p in self.pairs:
            if p.old in line_of and p.new in line_of and line_of[p.old] is not line_of[p.new]:
                line = line_of[p.old] + line_of[p.new]
                for term in line:
                    line_of[term.key] = line
        return list({id(line): line for line in line_of.values()}.values())

    def items(self, line, day):
        """What counts of a line on a day."""
        out = []
        for term in line:
            start, to = self.span(term)
            c = term.contract
            v = c.on(max(min(day, term.stop - days(1)), term.start))
            if not start <= day < to or v.arr == 0 or (c.deleted and not self.follow_ons(term)):
                continue
            pauses = [p for p in self.contracts.values() if p.role == "pause" and same_product(p, c)]
            paused = any(p.start <= day < self.world.stop_of(p.newest, self.t) for p in pauses)
            account = self.world.heir(c.newest.account, self.t, day)
            again = term.k > 0 and not term.in_place
            item = {
                "uid": c.uid,
                "again": again,
                "account": account,
                "arr": v.arr,
                "currency": v.currency,
                "product": c.product,
            }
            out.append(item | {"paused": paused or c.paused_on(day)})
        return out

    def value(self, items, day):
        return sum(self.world.cents(i["arr"], i["currency"], day, self.t) for i in items)


def same_dates(a, b):
    return (a.start, a.end) == (b.start, b.end)


def never_was(term):
    """Paid, or known, only after its end."""
    return term.revenue_from is not None and term.revenue_from >= term.stop


def add(day, more):
    return FAR if day >= FAR else day + more


# The movements of one month (R9)

MONEY = ("opening", "closing", "fx", "correction", "contracted", "paused", "gained", "lost")


def close_month(family, month, opening):
    """Rows by account, and what closes. `opening`: what closed before: list of items, each with its cents."""
    rows, closing, handed = {}, [], set()
    last, eve = next_month(month) - days(1), month - days(1)  # the days at whose rates it closes, and opened

    def move(account, what, cents):
        row = rows.setdefault(account, dict.fromkeys(MONEY, 0) | {"customer_lost": False})
        row[what] += cents

    for line in family.lines():
        before, after = family.items(line, eve), family.items(line, last)
        for i in after:
            cents = 0 if i["paused"] else family.value([i], last)
            closing.append(i | {"cents": cents})
            move(i["account"], "closing", cents)
        for i in before:
            move(i["account"], "correction", 0 if i["paused"] else family.value([i], eve))
        there = sorted({i["account"] for i in after}, key=str)
        for i in before:
            if there and i["account"] not in there:  # out of the one account, into the other
                if any(p.old[0] == i["uid"] for p in family.pairs):  # else it is lost there, and goes on beside it
                    handed.add(i["account"])
                cents = 0 if i["paused"] else family.value([i], eve)
                move(i["account"], "correction", -cents)
                move(there[0], "correction", cents)
                i["account"] = there[0]
        for account in sorted({i["account"] for i in before + after}, key=str):
            mine = [[i for i in items if i["account"] == account] for items in (before, after)]
            move_line(family, line, *mine, eve, last, lambda what, cents, to=account: move(to, what, cents))
    for i in opening:
        move(i["account"], "opening", i["cents"])
        olds = family.lapsed.get(i["uid"], [])  # page 21: it lapsed, and nothing took its place
        places = [line for line in family.lines() if any(x.key in olds or x.contract.uid == i["uid"] for x in line)]
        paid = any(not world_free(family, key) for key in olds)  # of a free one it never was revenue
        lost = paid and not any(family.items(line, eve) for line in places)
        move(i["account"], *(("lost", i["cents"]) if lost else ("correction", -i["cents"])))
    running = {x["uid"] for line in family.lines() for x in family.items(line, last)}
    for account, row in rows.items():
        mine = [i for i in opening if i["account"] == account]
        gone = {uid for uid in family.uids if uid not in family.contracts or family.contracts[uid].deleted}
        gone |= {uid for uid, olds in family.lapsed.items() if all(world_free(family, key) for key in olds)}
        withdrawn = all(i["uid"] in gone and (i["again"] or i["uid"] not in family.followed) for i in mine)
        heir = family.world.heir(account, family.t, last)
        lapsed_from = {key[0] for i in mine for key in family.lapsed.get(i["uid"], [])}
        mine_go_on = bool(running & continued(family, lapsed_from | {i["uid"] for i in mine}))
        stays = any(i["account"] in (account, heir) for i in closing) or account in handed or withdrawn or mine_go_on
        row["customer_lost"] = bool(mine) and not stays
        flows = sum(row[m] for m in MONEY if m not in ("closing", "lost"))
        assert flows - row["lost"] == row["closing"], (account, month, row)
    return rows, closing


def continued(family, uids):
    """These contracts, and all that continue them."""
    found = set(uids)
    while more := {p.new[0] for p in family.pairs if p.old[0] in found} - found:
        found |= more
    return found


def move_line(family, line, before, after, eve, last, move):
    """Of one line and account: from what ran on the eve of the month to what runs on its last day (page 22)."""
    old, old_out = family.value(before, eve), family.value([i for i in before if i["paused"]], eve)
    new, new_out = family.value(after, last), family.value([i for i in after if i["paused"]], eve)
    move("paused", old_out)  # everything is brought back, and then what is paused taken out
    if not after:
        move("lost", old)
        return
    now = family.value(before, last)
    move("paused", -new_out)
    move("fx", now - old - (family.value([i for i in after if i["paused"]], last) - new_out))
    step = 0
    for p in family.pairs:
        terms = [family.terms[key].contract for key in (p.old, p.new) if key in family.terms]
        if p.kind == "ramp" and len(terms) == 2 and family.terms[p.new] in line and eve < terms[1].start <= last:
            o, n = terms[0].on(terms[1].start - days(1)), terms[1].on(terms[1].start)
            step += family.world.cents(n.arr, n.currency, last, family.t)
            step -= family.world.cents(o.arr, o.currency, last, family.t)
    move("contracted", step)
    rest = new - now - step
    move("gained" if rest > 0 else "lost", abs(rest))


# Expansion (R5, R6)


def more_bought(family, old, new, day):
    """Versions before and after: more seats, or another plan or product that costs more. A higher price is none."""
    seats = [[v.seats for v in versions] for versions in (old, new)]
    if None not in seats[0] + seats[1] and sum(seats[1]) > sum(seats[0]):
        return True
    products = {v.product for v in old} != {v.product for v in new}
    plans = [{v.plan for v in versions} for versions in (old, new)]
    if not products and (plans[0] == plans[1] or None in plans[0] | plans[1]):
        return False
    money = [sum(family.world.cents(v.arr, v.currency, day, family.t) for v in versions) for versions in (old, new)]
    return money[1] > money[0]


def expansions_of(family):
    world, t, out, done = family.world, family.t, [], set()

    def expanded(term, kind, day):
        if day < t:
            account = world.heir(term.contract.newest.account, t, day)
            out.append({"account_id": account, "kind": kind, "day": day})

    lines = family.lines()
    for term in family.terms.values():
        c, day = term.contract, family.span(term)[0]
        if c.role != "contract":
            continue
        into = [p for p in family.pairs if p.new == term.key and p.old in family.terms]
        if not into and term.k == 0 and not c.free and day < t:
            mine = [i for line in lines for i in family.items(line, day - days(1))]
            mine = [i for i in mine if world.heir(i["account"], t) == c.account]
            paid = [o for o in family.contracts.values() if o.role == "contract" and not o.free and o.uid != c.uid]
            if any(i["product"] == c.product for i in mine):
                expanded(term, "upsell", day)
            elif mine and not any(same_product(o, c) and o.start < c.start for o in paid):
                expanded(term, "cross_sell", day)
        olds = {p.old for p in into if p.rule != "in_place" and p.kind != "ramp" and not world_free(family, p.old)}
        news = [p.new for p in family.pairs if p.old in olds and p.new in family.terms]
        if olds and (frozenset(olds), day) not in done:
            done.add((frozenset(olds), day))
            before = [family.terms[key] for key in olds]
            before = [o.contract.on(max(min(day, o.stop) - days(1), o.start)) for o in before]
            after = [family.terms[key].contract.on(family.terms[key].start) for key in set(news)]
            if more_bought(family, before, after, day):
                expanded(term, "upsell", day)
        for v in c.versions[1:]:
            begun = term.start <= v.valid if term.in_place else max(term.start, day) < v.valid
            counts = begun and v.valid < term.stop and c.on(v.valid) is v
            if counts and more_bought(family, [c.on(v.valid - days(1))], [v], v.valid):
                expanded(term, "upsell", v.valid)
    return out


def world_free(family, key):
    return key in family.terms and family.terms[key].contract.free


# The story


def families_of(world):
    """Sets of contracts that may have to do with each other: by account, merger, id, subscription and order."""
    parent = {}

    def find(x):
        while parent.setdefault(x, x) != x:
            x = parent[x]
        return x

    for a in world.accounts:
        if a.get("merged_into_account_id") is not None:
            parent[find(("account", a["account_id"]))] = find(("account", a["merged_into_account_id"]))
    for uid, versions in world.versions.items():
        for v in versions:
            names = [("account", v.account), ("id", v.id), ("id", v.replaces), ("subscription", v.subscription)]
            for name in names:
                if name[1] is not None:
                    parent[find(name)] = find(uid)
    groups = {}
    for uid in world.versions:
        groups.setdefault(find(uid), []).append(uid)
    return list(groups.values())


def days_to_look(world, uids, told_on, months):
    """The days on which something may have changed: after each date, and when its grace or time to pay has passed."""
    dates = set()
    for uid in uids:
        for v in world.versions[uid]:
            dates |= {v.known, v.start, v.end, v.cancelled, v.deleted, v.paid, v.valid}
    accounts = {v.account for uid in uids for v in world.versions[uid]}
    for _ in world.accounts:
        more = {a.get("merged_into_account_id") for a in world.accounts if a["account_id"] in accounts}
        if more <= accounts:
            break
        accounts |= more
    for a in world.accounts:
        if a["account_id"] in accounts:
            dates |= {to_day(a.get("merged_at")), to_day(a.get("recorded_at"))}
    out = {told_on} | set(months)  # payment is asked by what is known on the first of a month
    for d in dates - {None, date.min}:
        if d < FAR:
            out |= {d + days(n + 1) for n in (0, world.rules.after_days, world.rules.payment_days)}
    return sorted(d for d in out if d <= told_on)


def tell(tables, told_on, rules, first_month):
    told_on, first_month = to_day(told_on), month_of(to_day(first_month))
    world = World(tables, rules, told_on)
    story = Story([], [], [], [], world.notes)
    for uids in families_of(world):
        family = Family(world, uids)
        month = min(first_month, month_of(min(v.start for uid in uids for v in world.versions[uid])))
        firsts, opening = [month], []
        while firsts[-1] < told_on:
            firsts.append(next_month(firsts[-1]))
        closing_days = {world.final_on(first): first for first in firsts}
        for t in days_to_look(world, uids, told_on, [*firsts, *closing_days]):
            family.look(t)
            if t not in closing_days:
                continue
            month = closing_days[t]
            rows, opening = close_month(family, month, opening)
            for term in family.terms.values():
                start, to = family.span(term)
                if start < min(to, next_month(month)):
                    family.counted.add(term.contract.uid)
            for entry in family.final.values():
                if entry["booked_month"] is None and entry["due_at"] < next_month(month):
                    entry["booked_month"] = month
            for account, row in rows.items():
                there = any(i["account"] == account for i in opening)
                if month >= first_month and (there or row["customer_lost"] or any(row[m] for m in MONEY)):
                    story.months.append({"account_id": account, "month": month} | row)
            month = next_month(month)
        for entry in family.final.values():  # the earliest month still open
            entry["booked_month"] = entry["booked_month"] or max(month_of(entry["due_at"]), month)
        story.ledger += list(family.final.values())
        story.ledger += [e for e in map(family.entry, family.terms.values()) if e is not None]
        for p in family.pairs:
            story.pairs.append({"old": p.old[0][0], "new": p.new[0][0], "rule": p.rule, "kind": p.kind})
        story.expansions += expansions_of(family)
    story.ledger.sort(key=lambda e: (e["due_at"], str(e["contract_id"])))
    story.months.sort(key=lambda r: (str(r["account_id"]), r["month"]))
    story.expansions.sort(key=lambda e: (e["day"], str(e["account_id"]), e["kind"]))
    return story


# Companies worked out by hand from the rules (with a grace of 60 days January 2024 is final on 1 April)


def row(cid, start, end, arr, **more):
    base = {"contract_id": cid, "account_id": cid[0], "start_date": datetime.fromisoformat(start), "arr": arr}
    base["end_date"] = datetime.fromisoformat(end) if end else None
    more = {k: datetime.fromisoformat(v) if k.endswith(("_at", "_from")) else v for k, v in more.items()}
    return base | {"signed_at": base["start_date"] - days(10)} | more


def told(contracts, rules, told_on, merged=(), rates=()):
    """The story of contracts whose account is the first letter of their id, as tuples and lines of text."""
    accounts = [{"account_id": a} for a in {r["account_id"] for r in contracts} - {m["account_id"] for m in merged}]
    tables = {"contracts": contracts, "accounts": accounts + list(merged), "rates": list(rates)}
    story = tell(tables, told_on, rules, date(2024, 1, 1))
    pairs = sorted(" ".join((p["old"], p["new"], p["rule"], p["kind"])) for p in story.pairs)
    names = ("contract_id", "account_id", "due_at", "outcome", "booked_month", "amount_due", "rolling")
    ledger = [" ".join(str(e[n]) for n in names) for e in story.ledger]
    months = []
    for r in story.months:
        moved = [f"{m}={r[m]}" for m in MONEY[2:] if r[m]] + ["customer_lost"] * r["customer_lost"]
        if moved:
            months.append(f"{r['account_id']} {r['month'].month} " + " ".join(moved))
    return story, pairs, ledger, months


def check_story(found, pairs, ledger, months):
    """Check the lines of `told`; return the story."""
    story, *lines = found
    for got, want in zip(lines, (pairs, ledger, months), strict=True):
        same(got, want)
    return story


def same(got, want):
    want = [line.strip() for line in want.strip().splitlines()]
    assert got == want, "\n".join(["not as worked:", *(f"- {x}" for x in want if x not in got), *got])


def self_check():
    contracts = [
        row("a1", "2023-01-01", "2024-01-01", 12000),  # a plain renewal
        row("a2", "2024-01-01", "2025-01-01", 13000),
        row("b1", "2023-02-10", "2024-02-10", 5000),  # a loss
        row("c1", "2023-01-15", "2024-01-15", 6000),  # its follow-on is settled in June, back-dated
        row("c2", "2024-01-15", "2025-01-15", 7000, signed_at="2024-06-10"),
        row("d1", "2023-03-01", "2024-03-01", 1000, signed_at="2023-02-20"),  # a ramp
        row("d2", "2024-03-01", "2024-12-01", 2000, signed_at="2023-02-20"),
        row("e1", "2023-06-01", "2024-06-01", 1000),  # replaced, with a later end
        row("e2", "2024-02-01", "2025-02-01", 1500, replaces_contract_id="e1"),
        row("f1", "2024-01-01", "2025-01-01", 1000, seats=10),  # replaced, with the same end
        row("f2", "2024-04-01", "2025-01-01", 1500, seats=15, replaces_contract_id="f1"),
        row("g1", "2023-05-01", "2024-05-01", 3000),  # g merges into h on 10 March
        row("h2", "2024-05-01", "2025-05-01", 3000),
        row("i1", "2023-02-01", "2024-02-01", 4000),  # a pause from February to April
        row("ip", "2024-02-01", "2024-05-01", 0, kind="pause"),
        row("i2", "2024-05-01", "2025-05-01", 4000),
        row("j1", "2023-01-01", None, 1200, cancelled_at="2024-03-15"),  # a rolling contract
        row("k1", "2023-03-01", "2024-03-01", 800),  # renewed in place on 10 February
        row("k1", "2023-03-01", "2025-03-01", 900, recorded_at="2024-02-10", valid_from="2024-03-01"),
        row("l1", "2023-06-01", "2025-06-01", 1000, currency="EUR"),  # the rate changes in February
    ]
    merged = [{"account_id": "g", "merged_into_account_id": "h", "merged_at": datetime(2024, 3, 10)}]
    rates = [{"currency": "EUR", "date": date(2023, 1, 1), "rate": 1.1}]
    rates.append({"currency": "EUR", "date": date(2024, 2, 15), "rate": 1.2})
    story = check_story(
        told(contracts, Rules(), date(2025, 1, 1), merged, rates),
        pairs="""a1 a2 adjacent renewal
        d1 d2 ramp ramp
        e1 e2 replaces renewal
        f1 f2 replaces amendment
        g1 h2 adjacent renewal
        i1 i2 adjacent renewal
        k1 k1 in_place renewal""",
        ledger="""a1 a 2024-01-01 renewed 2024-01-01 1200000 False
        c1 c 2024-01-15 churned 2024-01-01 600000 False
        e1 e 2024-02-01 renewed 2024-02-01 100000 False
        b1 b 2024-02-10 churned 2024-02-01 500000 False
        k1 k 2024-02-10 renewed 2024-02-01 80000 False
        j1 j 2024-03-15 churned 2024-03-01 120000 True
        g1 h 2024-05-01 renewed 2024-05-01 300000 False
        i1 i 2024-05-01 renewed 2024-05-01 400000 False
        d2 d 2024-12-01 pending None 200000 False""",
        months="""a 1 gained=100000
        b 2 lost=500000 customer_lost
        c 1 lost=600000 customer_lost
        c 6 gained=700000
        d 3 contracted=100000
        e 2 gained=50000
        f 1 gained=100000
        f 4 gained=50000
        g 3 correction=-300000
        h 3 correction=300000
        i 2 paused=-400000
        i 5 paused=400000
        j 3 lost=120000 customer_lost
        k 3 gained=10000
        l 2 fx=10000""",
    )
    assert story.ledger[-1]["start_date"] == date(2023, 3, 1)
    assert story.expansions == [{"account_id": "f", "kind": "upsell", "day": date(2024, 4, 1)}], story.expansions
    check_page()
    check_payment()
    print("the hand-worked companies come out as worked")


def check_page():
    contracts = [
        row("a1", "2023-01-01", "2024-01-01", 1000),  # page 15: two become one (a2 is bridged for two days)
        row("a2", "2023-07-01", "2023-12-30", 500),
        row("a3", "2024-01-01", "2025-01-01", 1800),
        row("b1", "2023-02-01", "2024-02-01", 2000),  # page 15: one becomes two
        row("b2", "2024-02-01", "2025-02-01", 1500),
        row("b3", "2024-02-01", "2025-02-01", 900),
        row("c1", "2023-01-10", "2024-01-10", 1000),  # page 16: two of one end, one 20 days later
        row("c2", "2023-04-10", "2024-01-10", 500),
        row("c3", "2024-01-30", "2025-01-30", 1500),
        row("c4", "2024-02-20", "2025-02-20", 100),  # ... and one more, which has nothing left to follow
        row("d1", "2023-01-10", "2024-01-10", 600),  # page 7: cancelled on its start, when that was final
        row("d2", "2024-01-10", "2025-01-10", 700),
        row("d2", "2024-01-10", "2025-01-10", 700, recorded_at="2024-05-05", cancelled_at="2024-01-10"),
        row("e1", "2023-01-10", "2024-01-10", 600),  # page 7: cancelled on its start, in time: it never ran
        row("e2", "2024-01-10", "2025-01-10", 700),
        row("e2", "2024-01-10", "2025-01-10", 700, recorded_at="2024-02-05", cancelled_at="2024-01-10"),
        row("f1", "2023-08-01", "2025-08-01", 800, deleted_at="2024-05-10"),  # page 8: deleted
        row("g1", "2023-01-10", "2024-01-10", 600),  # page 8: deleted, when what it followed was final
        row("g2", "2024-01-10", "2025-01-10", 600, deleted_at="2024-05-10"),
        row("h1", "2023-01-01", "2024-01-01", 1200),  # page 11: a paid year, a free month, a paid year
        row("h2", "2024-01-01", "2024-02-01", 0),
        row("h3", "2024-02-01", "2025-02-01", 1200),
        row("i1", "2023-06-01", "2025-06-01", 300),  # page 21: a merger known when March was final
        row("j1", "2023-06-01", "2025-06-01", 400),
        row("k1", "2023-02-01", "2024-02-01", 500),  # page 4: the next term under the same id
        row("k1", "2024-02-01", "2025-02-01", 600, recorded_at="2024-01-20", signed_at="2024-01-20"),
        row("l1", "2023-03-01", "2025-03-01", 900),  # page 9: made free on 1 March
        row("l1", "2023-03-01", "2025-03-01", 0, recorded_at="2024-02-20", valid_from="2024-03-01"),
        row("m1", "2023-03-01", "2024-06-01", 1000, seats=10),  # page 17: replaces the two that it overlaps
        row("m2", "2023-04-01", "2024-07-01", 500, seats=5),
        row("m3", "2024-02-10", "2025-02-10", 1400, seats=15),
        row("n1", "2023-03-01", "2024-09-01", 1000, seats=10),  # page 17: two, until the old one is cancelled: amended
        row("n2", "2024-03-01", "2024-09-01", 400, seats=4),
        row("n1", "2023-03-01", "2024-09-01", 1000, seats=10, recorded_at="2024-03-20", cancelled_at="2024-04-01"),
        row("o1", "2023-03-01", "2024-03-01", 1000),  # page 24: an early follow-on takes over on its start
        row("o2", "2024-02-01", "2025-03-01", 1100),
        row("p1", "2023-05-01", "2025-05-01", 1000),  # a cancellation known in May: of January, which is final
        row("p1", "2023-05-01", "2025-05-01", 1000, recorded_at="2024-05-05", cancelled_at="2024-01-20"),
    ]
    merger = {"account_id": "i", "merged_into_account_id": "j", "merged_at": datetime(2024, 3, 10)}
    merged = [merger | {"recorded_at": datetime(2024, 6, 15)}]
    check_story(
        told(contracts, Rules(), date(2024, 12, 1), merged),
        pairs="""a1 a3 adjacent renewal
        a2 a3 adjacent renewal
        b1 b2 adjacent renewal
        b1 b3 adjacent renewal
        c1 c3 grace renewal
        c2 c3 grace renewal
        d1 d2 adjacent renewal
        g1 g2 adjacent renewal
        h1 h3 grace renewal
        k1 k1 subscription renewal
        m1 m3 overlap renewal
        m2 m3 overlap renewal
        n1 n2 grace amendment
        o1 o2 grace renewal""",
        ledger="""a2 a 2023-12-30 renewed 2023-12-01 50000 False
        a1 a 2024-01-01 renewed 2024-01-01 100000 False
        h1 h 2024-01-01 renewed 2024-01-01 120000 False
        c1 c 2024-01-10 renewed 2024-01-01 100000 False
        c2 c 2024-01-10 renewed 2024-01-01 50000 False
        d1 d 2024-01-10 renewed 2024-01-01 60000 False
        d2 d 2024-01-10 churned 2024-03-01 70000 False
        e1 e 2024-01-10 churned 2024-01-01 60000 False
        g1 g 2024-01-10 renewed 2024-01-01 60000 False
        g2 g 2024-01-10 churned 2024-03-01 60000 False
        p1 p 2024-01-20 churned 2024-03-01 100000 False
        b1 b 2024-02-01 renewed 2024-02-01 200000 False
        h2 h 2024-02-01 churned 2024-02-01 0 True
        k1 k 2024-02-01 renewed 2024-02-01 50000 False
        m1 m 2024-02-10 renewed 2024-02-01 100000 False
        m2 m 2024-02-10 renewed 2024-02-01 50000 False
        l1 l 2024-03-01 churned 2024-03-01 90000 False
        o1 o 2024-03-01 renewed 2024-03-01 100000 False
        n2 n 2024-09-01 churned 2024-09-01 40000 False""",
        months="""a 1 gained=30000
        b 2 gained=40000
        c 2 gained=10000
        d 1 gained=10000
        d 3 correction=-70000 customer_lost
        e 1 lost=60000 customer_lost
        f 3 correction=-80000
        g 3 correction=-60000 customer_lost
        i 4 correction=-30000
        j 4 correction=30000
        k 2 gained=10000
        l 3 lost=90000 customer_lost
        m 2 lost=10000
        n 3 lost=60000
        n 9 lost=40000 customer_lost
        o 2 gained=10000
        p 3 correction=-100000 customer_lost""",
    )


def check_payment():
    """Page 19: of 23 neighbours 20 paid within five days, so payment is asked."""
    contracts = [row(f"z{i}", "2023-03-01", "2027-03-01", 10, product=f"p{i}", paid_at="2023-03-05") for i in range(20)]
    contracts += [
        row(
            "a1", "2023-02-10", "2024-02-10", 600
        ),  # never paid: pending and counted until 10 May, when February is final
        row("a2", "2024-02-10", "2025-02-10", 700),
        row("b1", "2023-02-10", "2024-02-10", 600),  # paid in time
        row("b2", "2024-02-10", "2025-02-10", 700, paid_at="2024-05-10"),
        row("c1", "2023-02-10", "2024-02-10", 600),  # paid too late
        row("c2", "2024-02-10", "2025-02-10", 700, paid_at="2024-06-20"),
    ]
    check_story(
        told(contracts, Rules(), date(2024, 12, 1)),
        pairs="b1 b2 adjacent renewal",
        ledger="""a1 a 2024-02-10 churned 2024-03-01 60000 False
        b1 b 2024-02-10 renewed 2024-03-01 60000 False
        c1 c 2024-02-10 churned 2024-03-01 60000 False""",
        months="""a 2 gained=10000
        a 3 lost=70000 customer_lost
        b 2 gained=10000
        c 2 gained=10000
        c 3 lost=70000 customer_lost
        c 6 gained=70000""",
    )
    _, _, ledger, _ = told(contracts, Rules(), date(2024, 5, 10))
    assert ledger[0] == "a1 a 2024-02-10 pending None 60000 False", ledger
    _, pairs, _, _ = told(contracts, Rules(payment="ignored"), date(2024, 12, 1))
    same(pairs, "a1 a2 adjacent renewal\n b1 b2 adjacent renewal\n c1 c2 adjacent renewal")


if __name__ == "__main__":
    self_check()
