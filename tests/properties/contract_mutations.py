"""Faults put into `features/revenue` on purpose, and what must notice each: a law, or a case of `tests/golden`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One fault: the clause of the domain that it breaks, and code of a module that another replaces."""

    clause: str
    fault: str
    module: str
    old: str
    new: str
    killers: tuple[str, ...]
    """Names of laws and beginnings of names of golden cases, each of which must fail."""


MUTATIONS = (
    # what is final, and when it is booked (R9)
    Mutation(
        "R9 final",
        "a month stays open a month too long",
        "roll_forward",
        "            if final >= day:",
        "            if final + 30 >= day:",
        (
            "final_months_stay",
            "A first contract starts in February and reaches the company's systems only in September.",
        ),
    ),
    Mutation(
        "R9 booked",
        "an outcome counts in the month of its due day, also where that is final",
        "outcomes",
        "    while last + settlement.rules.after_days < entry.matured - 1:",
        "    while False:",
        (
            "a_lost_customer_has_a_lost_contract",
            "A larger contract that begins in July reaches the systems only in October.",
        ),
    ),
    Mutation(
        "R9 correction",
        "late papers move the opening without a correction",
        "roll_forward",
        '            rows[account_id].money["correction"] -= amount\n',
        '            rows[account_id].money["correction"] -= 0 * amount\n',
        (
            "final_months_stay",
            "A yearly term is followed by the next on the day it ends.",
        ),
    ),
    Mutation(
        "R9 fx",
        "changed rates are called a change of price",
        "roll_forward",
        '                rows[held.account_id].money["fx"] += current.amount - held.holding.amount\n',
        '                money["price"] += current.amount - held.holding.amount\n',
        (
            "gains_and_losses_are_not_negative",
            "A contract in euro is raised by half in July, the month in which the rate also moves.",
        ),
    ),
    Mutation(
        "R9 too late",
        "a term settled too late counts from its back-dated start",
        "follow_ons",
        "                new.begin = max(self._known.day, new.start)\n                new.is_void",
        "                new.begin = new.start\n                new.is_void",
        (
            "The paper of the next term is signed 79 days after the end and dated back to it.",
            "The paper of the next term, larger than the old, is signed 79 days after the end and is itself renewed.",
        ),
    ),
    Mutation(
        "R9 one story",
        "an account that was merged away counts as lost",
        "roll_forward",
        "row.was_customer and not row.is_customer and not moved and not never_was",
        "row.was_customer and not row.is_customer and not never_was",
        ("a_lost_customer_has_a_lost_contract",),
    ),
    # what follows what (R10)
    Mutation(
        "R10 (1)",
        "replaces_contract_id is not read",
        "follow_ons",
        "        if new.version.replaces is None:",
        "        if True:",
        (
            "A smaller contract says that it replaces the running one four months before its end.",
            "A contract of another product says that it replaces the one that ends.",
        ),
    ),
    Mutation(
        "R10 (2)",
        "subscription_id is not read",
        "follow_ons",
        "            return same_id or (key is not None and key == old.version.subscription)",
        "            return same_id",
        (
            "Two terms of one subscription_id stand under different products.",
            "Two subscriptions end on one day, and the larger follow-on belongs to the smaller of them.",
        ),
    ),
    Mutation(
        "R10 (2)",
        "terms of one contract_id are not one subscription",
        "follow_ons",
        "            return same_id or (key is not None and key == old.version.subscription)",
        "            return key is not None and key == old.version.subscription",
        (
            "Three yearly terms carry one contract_id.",
            "Two terms carry one contract_id, and the second is amended in its fourth month.",
        ),
    ),
    Mutation(
        "R10 (3)",
        "order_id is not read",
        "follow_ons",
        "            if key is not None\n            and t.version.order == key",
        "            if False\n            and t.version.order == key",
        (
            "Two terms of one order, signed on different days, follow each other with a gap of 30 days.",
            "Two orders end on one day, and only the row of the first order has a follow-on of its order.",
        ),
    ),
    Mutation(
        "R10 (3) ramp",
        "steps of a ramp are due one by one",
        "follow_ons",
        "            and signed == old.version.signed\n            and signed <= old.start",
        "            and False",
        (
            "A deal of three years with rising steps, a row a year and no order_id, signed on one day, is",
            "A deal of three years with rising steps under one order_id, its rows signed on different days.",
        ),
    ),
    Mutation(
        "R10 (3) ramp",
        "rows signed after the first start are a ramp",
        "follow_ons",
        "            and signed <= old.start\n",
        "",
        (
            "Two yearly terms with a rising step are both signed on a day after the first start.",
            "Every contract carries the day of the move to a new system as its signature.",
        ),
    ),
    Mutation(
        "R10 (4)",
        "four days still are adjacent",
        "contract_lines",
        "ADJACENT_DAYS = 3",
        "ADJACENT_DAYS = 4",
        ("Two contracts end four days apart, and one contract for both starts on the later end.",),
    ),
    Mutation(
        "R10 (4)",
        "another product may follow",
        "known_terms",
        "        return old.version.product == new.version.product and self.account(old) == self.account(new)",
        "        return self.account(old) == self.account(new)",
        (
            "The product core is followed by platform, and no map says that they are one.",
            "Two products end together, and only one of them is renewed.",
        ),
    ),
    Mutation(
        "R10 (5)",
        "a follow-on may start on the sixty-first day",
        "follow_ons",
        "new.start <= self._known.ends_after_pause(old) + self._known.rules.after_days\n            and not",
        "new.start <= self._known.ends_after_pause(old) + self._known.rules.after_days + 1\n            and not",
        ("The next term starts on the sixty-first day after the end.",),
    ),
    Mutation(
        "R10 (5)",
        "a follow-on may be known on the sixty-first day",
        "known_terms",
        "        if old.final is not None or (new.final is not None and new.final > old.known):\n"
        "            return False\n"
        "        return new.known <= max(",
        "        return new.known <= 1 + max(",
        ("The paper of the next term is signed on the sixty-first day after the end and dated back to it.",),
    ),
    Mutation(
        "R10 (5)",
        "the grace before the end is not limited to half of the term",
        "known_terms",
        "        return min(self.rules.before_days, term.length // 2)",
        "        return self.rules.before_days",
        ("A term of 120 days is followed by a smaller one that starts 61 days before its end.",),
    ),
    Mutation(
        "R10 (5)",
        "the farthest end is followed",
        "follow_ons",
        "        nearest = min(near, key=lambda old: (self._distance(old, new),",
        "        nearest = min(near, key=lambda old: (-self._distance(old, new),",
        ("Two teams hold a contract each of one product, with ends 40 days apart, and one term follows in between.",),
    ),
    Mutation(
        "R10 (5)",
        "several follow-ons follow one contract",
        "follow_ons",
        "            and self._is_free_twin(old, new)\n            and self._may_follow_end(old, new)",
        "            and self._may_follow_end(old, new)",
        (
            "Two orders end on one day, and only the row of the first order has a follow-on of its order.",
            "A contract of another product says that it replaces the one that ends.",
        ),
    ),
    Mutation(
        "R10 (6)",
        "a larger contract replaces one that ends later",
        "follow_ons",
        "                if new.end > twins[0].end and self._are_at_least(",
        "                if self._are_at_least(",
        ("A larger contract without seats begins in May and ends before the running one.",),
    ),
    Mutation(
        "R10 (6)",
        "a smaller contract replaces a larger one",
        "follow_ons",
        "                if new.end > twins[0].end and self._are_at_least(bought, [*replaced, *twins]):",
        "                if new.end > twins[0].end:",
        (
            "The next term, smaller than the old, starts ninety-one days before the end.",
            "A term of 120 days is followed by a smaller one that starts 61 days before its end.",
        ),
    ),
    Mutation(
        "R10 (6)",
        "seats are not compared",
        "follow_ons",
        "    if size.seats is not None and other.seats is not None:\n",
        "    if False:\n",
        ("In September a contract with as many seats and less money begins while the old one keeps its end in",),
    ),
    Mutation(
        "R10 (6) setting",
        "the setting `replace` is not read",
        "follow_ons",
        '        if setting == "replace":',
        '        if setting == "none":',
        (
            "In September a smaller contract begins during the old one, and overlaps are set to replace.",
            "A larger contract with the same end begins in October, and overlaps are set to replace.",
        ),
    ),
    Mutation(
        "R10 (6) setting",
        "the setting `two` is not read",
        "follow_ons",
        '        elif setting == "auto":',
        '        elif setting != "replace":',
        ("In September a larger contract begins during the old one, and overlaps are set to two.",),
    ),
    Mutation(
        "R10 amendment",
        "an amendment to the same end is a renewal",
        "follow_ons",
        '        return "renewal" if new.end > end else "amendment"',
        '        return "renewal"',
        (
            "A larger contract replaces the running one by its id and keeps the same end.",
            "A smaller contract replaces the running one by its id, keeps the same end and is not renewed.",
        ),
    ),
    Mutation(
        "R10 early renewal",
        "an early renewal is due at the old end",
        "known_terms",
        "        return first if first < term.ends - self.before_window(term) else self.ends_after_pause(term)",
        "        return self.ends_after_pause(term)",
        (
            "A smaller contract says that it replaces the running one four months before its end.",
            "Three contracts replace one another within one year.",
        ),
    ),
    Mutation(
        "R10 extension",
        "every moved end is a renewal in place",
        "settlement",
        "        elif moved > 0 and 2 * moved >= term.length and",
        "        elif moved > 0 and",
        (
            "The end of a yearly term is moved by three months, known a month before the end, and the term is",
            "The end of a yearly term is moved by two months, known 20 days after the old end, and nothing follows.",
        ),
    ),
    Mutation(
        "R10 in place",
        "a moved end never is a renewal",
        "settlement",
        "        elif moved > 0 and 2 * moved >= term.length and",
        "        elif moved > 10**6 and",
        (
            "The end of the one row is moved by a year, a month before it.",
            "The end of the one row is moved by a year, with more seats and money from the old end on.",
        ),
    ),
    Mutation(
        "R10 in place",
        "a renewal in place is due at the old end",
        "settlement",
        "            term.renewed_in_place = min(version.known, term.ends)",
        "            term.renewed_in_place = term.ends",
        (
            "The end of the one row is moved by a year, a month before it.",
            "The end of the one row is moved by a year, with more seats and money from the old end on.",
        ),
    ),
    Mutation(
        "R10 trial",
        "a free row of ninety-one days is a trial",
        "settlement",
        "TRIAL_DAYS = 90",
        "TRIAL_DAYS = 91",
        ("A free row of 91 days is followed by a paid year.",),
    ),
    Mutation(
        "R10 trial",
        "trials are contracts",
        "settlement",
        "        if version.arr != 0:\n            return False\n        if version.kind",
        "        return False\n        if version.kind",
        (
            "A free row of 14 days ends, and nothing follows.",
            "A free row of 14 days is followed by a paid year.",
        ),
    ),
    Mutation(
        "R10 paid then free",
        "a free contract follows a paid one",
        "follow_ons",
        "            and not (new.is_free and not old.is_free)\n",
        "",
        (
            "A paid year is followed by a free year.",
            "A paid year is followed by a free month and then by a paid year.",
        ),
    ),
    Mutation(
        "R10 paid then free",
        "a version without a price does not end the contract",
        "settlement",
        "            stops.append(version.effective)",
        "            pass",
        ("A running contract is amended to cost nothing from October on.",),
    ),
    Mutation(
        "R10 pause",
        "a pause takes no revenue out",
        "known_terms",
        "        return bool(self._pauses_of_line) and any(",
        "        return False and any(",
        (
            "A pause of three months lies inside a yearly term, which is then renewed.",
            "A pause of four months lies between two yearly terms.",
        ),
    ),
    Mutation(
        "R10 pause",
        "a term that ends in a pause is due at its own end",
        "known_terms",
        "                ends = pause.end\n",
        "                pass\n",
        (
            "A pause of four months lies between two yearly terms.",
            "A term is followed by a pause of three months, and the customer never comes back.",
        ),
    ),
    Mutation(
        "R10 mergers",
        "a chain of mergers leads to the second account only",
        "known_terms",
        "            seen.add(heir)\n",
        "            break\n",
        (
            "An account is merged into a second, and later that one into a third, which goes on with the first",
            "Two accounts are each said to be merged into the other, and a third into itself.",
        ),
    ),
    Mutation(
        "R10 mergers",
        "a merger counts before its day",
        "known_terms",
        "is not None and merger.merged <= day:",
        "is not None:",
        (
            "An account is merged into another, which goes on with its contract.",
            "Both accounts of a merger have a contract, and one contract for the sum follows both.",
        ),
    ),
    Mutation(
        "R10 mergers",
        "a merger is known on its day, whenever it was recorded",
        "families",
        "        known = max(day, recorded if recorded is not None else day)",
        "        known = day",
        (
            "later_rows_do_not_matter",
            "A merger of November is recorded the next September, when the months it touches are closed.",
        ),
    ),
    Mutation(
        "R10 renamed",
        "the map of renamed products is not read",
        "contract_lines",
        "        product=contracts.product_names.get(product, product),",
        "        product=product,",
        (
            "The product core is followed by platform, and the map says that platform is its new name.",
            "A renamed product is bought anew, larger, under its new name four months before the end.",
        ),
    ),
    # payment (R1)
    Mutation(
        "R1 asked",
        "payment is never asked",
        "known_terms",
        "        return self.rules.payments.share(term.start, self.day) >= PAYMENT_SHARE",
        "        return False",
        (
            "The next term is paid on the ninetieth day after its start.",
            "The next term is paid on the ninety-first day after its start.",
        ),
    ),
    Mutation(
        "R1 not asked",
        "three payments in ten are enough to ask",
        "known_terms",
        "PAYMENT_SHARE = 0.8",
        "PAYMENT_SHARE = 0.3",
        ("Two of the five terms of the year before carry a payment date.",),
    ),
    Mutation(
        "R1 asked",
        "the share is taken of payments that are not known yet",
        "contract_lines",
        "            paid = int((self._paid[terms] < known).sum())",
        "            paid = int((self._paid[terms] < OPEN_END).sum())",
        ("Payments of the year before are made only after the outcome of an unpaid term is decided.",),
    ),
    Mutation(
        "R1 deadline",
        "payment has a day more",
        "known_terms",
        "        return term.start + self.rules.policy.renewal.payment_days",
        "        return term.start + self.rules.policy.renewal.payment_days + 1",
        (
            "The next term is paid on the ninety-first day after its start.",
            "The next term is never paid.",
        ),
    ),
    Mutation(
        "R1 lapse",
        "an unpaid renewal stays one",
        "settlement",
        "            if any(map(self.is_waiting, term.old_pairs)):\n                term.lapsed",
        "            if False:\n                term.lapsed",
        (
            "The next term is paid on the ninety-first day after its start.",
            "The next term is never paid.",
        ),
    ),
    Mutation(
        "R1 pending",
        "an outcome is final before the renewal is paid",
        "settlement",
        "            if not any(map(self.is_waiting, (*term.new_pairs, *term.old_pairs))):\n                term.final",
        "            if True:\n                term.final",
        (
            "The next term is paid on the ninetieth day after its start.",
            "The next term is paid on the ninety-first day after its start.",
        ),
    ),
    Mutation(
        "R1 paid late",
        "a lapsed renewal that is paid counts from its start",
        "settlement",
        "                again.begin = max(self.day, term.start)\n                again.is_void",
        "                again.begin = term.start\n                again.is_void",
        (
            "The next term is paid on the ninety-first day after its start.",
            "The next term is paid on day 40, and payment is asked within 30 days.",
        ),
    ),
    # ends, versions, deletions (R3, R9)
    Mutation(
        "R3 cancelled",
        "a contract cancelled on its start ran",
        "settlement",
        "        never_ran = is_deleted or (stop is not None and stop <= term.start)",
        "        never_ran = is_deleted or (stop is not None and stop < term.start)",
        ("The next term is cancelled on the day on which it starts.",),
    ),
    Mutation(
        "R9 deleted",
        "a deleted contract stays",
        "settlement",
        "        is_deleted = term.version.deleted is not None and term.version.deleted <= self.day",
        "        is_deleted = False",
        (
            "A row entered twice is deleted ten days later.",
            "A row entered by mistake is deleted six months later.",
        ),
    ),
    Mutation(
        "R9 versions",
        "an amendment holds from the day it was recorded",
        "contract_lines",
        "            if version.known <= known and version.effective <= day and",
        "            if version.known <= known and version.known <= day and",
        (
            "An amendment recorded in June raises seats and money from July on.",
            "An amendment that lowers the money from March on is recorded in September.",
        ),
    ),
    Mutation(
        "R9 versions",
        "an amendment changes the months before it was recorded",
        "contract_lines",
        "            if version.known <= known and version.effective <= day and",
        "            if version.effective <= day and",
        (
            "An amendment that lowers the money from March on is recorded in September.",
            "A contract in euro is lowered in April by an amendment recorded in September, while the rate moves",
        ),
    ),
    Mutation(
        "R3 cancelled",
        "a cancellation is known before its day",
        "settlement",
        "is not None and version.cancelled <= self.day else []",
        "is not None else []",
        (
            "later_rows_do_not_matter",
            "A term is cancelled in its sixth month, and nothing follows.",
        ),
    ),
    # notice, rolling contracts (R12, R15)
    Mutation(
        "R12",
        "a request for cancellation ends the contract at once",
        "contract_lines",
        '        cancelled=days["cancelled_at"] if means_end else None,',
        '        cancelled=days["cancelled_at"],',
        (
            "The day of cancellation is the day of the request, and the term runs to its end.",
            "The day of cancellation is the day of the request, and the customer still buys the next term.",
        ),
    ),
    Mutation(
        "R12",
        "a notice is known before it was given",
        "states",
        "    return day if day is not None and day <= known else None",
        "    return day",
        ("later_rows_do_not_matter",),
    ),
    Mutation(
        "R15",
        "a term of ninety days rolls on",
        "known_terms",
        "ROLLING_DAYS = 90",
        "ROLLING_DAYS = 91",
        ("A term of ninety days is a renewal like any other, and one of eighty-nine days is not.",),
    ),
    Mutation(
        "R15",
        "contracts without an end are renewals",
        "known_terms",
        "            return last.end >= OPEN_END\n        return not any(",
        "            return False\n        return not any(",
        ("A contract whose end is given as 31 December 9999 is cancelled after 16 months.",),
    ),
)
