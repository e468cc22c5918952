//! What facts make of the rows, and that the facts alone make them: however they are cut and delivered.

use super::*;
use crate::facts::{AccountKind, BookEvent, CurrencyCode, LineKind, Overdraft, PostedEntry, Year};
use diptych::testing::{GivenFact, GivenFacts, given_facts, on};
use std::collections::BTreeMap;

const ACCOUNTS: [(&str, AccountKind); 4] = [
    ("cash", AccountKind::Asset),
    ("ann", AccountKind::Liability),
    ("bob", AccountKind::Liability),
    ("fees", AccountKind::Income),
];

fn euros(text: &str) -> Money {
    Money::parse(text, Currency::EUR).unwrap()
}

fn kind_of(account: &str) -> AccountKind {
    ACCOUNTS.iter().find(|(name, _)| *name == account).unwrap().1
}

fn opened(account: &str) -> GivenFact {
    let (name, currency) = (format!("Account {account}"), CurrencyCode::from("EUR"));
    let (kind, overdraft) = (kind_of(account), Overdraft::Allowed);
    on(account, BookEvent::AccountOpened { account: account.into(), name, kind, currency, overdraft })
}

fn all_opened() -> Vec<GivenFact> {
    ACCOUNTS.iter().map(|(account, _)| opened(account)).collect()
}

fn side((account, amount): &(&str, &str)) -> PostedEntry {
    PostedEntry { account: (*account).into(), kind: kind_of(account), amount: euros(amount) }
}

fn moved(kind: LineKind, transaction: &str, time: &str, entries: Vec<PostedEntry>) -> GivenFact {
    let (guarded, customer) = (Vec::new(), Some("C-1".into()));
    let (transaction, value_date) = (transaction.into(), "2026-01-01".into());
    let event = match kind {
        LineKind::Posting => {
            let description = "rent".to_owned();
            BookEvent::TransactionPosted { transaction, entries, guarded, description, customer, value_date }
        }
        LineKind::Reversal => {
            let reason = "a mistake".to_owned();
            BookEvent::TransactionReversed { transaction, entries, guarded, reason, customer, value_date }
        }
    };
    let key = match &event {
        BookEvent::TransactionPosted { transaction, .. }
        | BookEvent::TransactionReversed { transaction, .. } => transaction.to_string(),
        _ => unreachable!("both move money"),
    };
    on(&key, event).at(time)
}

fn posted(transaction: &str, time: &str, sides: &[(&str, &str)]) -> GivenFact {
    moved(LineKind::Posting, transaction, time, sides.iter().map(side).collect())
}

fn year(year: &str, entries: i64, money: [&str; 4], months: Vec<MonthSum>) -> AccountYear {
    let [opening, debit, credit, closing] = money.map(euros);
    let (account, year) = ("cash".into(), year.into());
    AccountYear { account, year, entries, opening, debit, credit, closing, months }
}

fn month(month: &str, debit: &str, credit: &str) -> MonthSum {
    MonthSum { month: month.into(), entries: 1, debit: euros(debit), credit: euros(credit) }
}

/// An open account in the trial balance.
fn row(account: &str, debit: &str, credit: &str, balance: &str, entries: i64) -> TrialBalance {
    TrialBalance {
        account: account.into(),
        name: format!("Account {account}"),
        kind: kind_of(account),
        currency: "EUR".into(),
        open: true,
        debit: euros(debit),
        credit: euros(credit),
        balance: euros(balance),
        entries,
        version: Version(1),
    }
}

#[test]
fn both_sides_of_a_transaction_stand_in_the_trial_balance() {
    let facts = all_opened().into_iter().chain([
        posted("T-1", "2026-07-07T10:00:00Z", &[("cash", "100.00"), ("ann", "-98.00"), ("fees", "-2.00")]),
        posted("T-2", "2026-07-07T10:00:01Z", &[("ann", "30.00"), ("cash", "-30.00")]),
    ]);
    given_facts(facts).then_rows([
        row("ann", "30.00", "98.00", "-68.00", 2),
        row("bob", "0", "0", "0", 0),
        row("cash", "100.00", "30.00", "70.00", 2),
        row("fees", "0", "2.00", "-2.00", 1),
    ]);
}

#[test]
fn a_line_says_what_the_account_holds_after_it() {
    let facts = all_opened().into_iter().chain([
        posted("T-1", "2026-07-07T10:00:00Z", &[("cash", "100.00"), ("ann", "-100.00")]),
        posted("T-2", "2026-07-07T10:00:01Z", &[("ann", "30.00"), ("bob", "-30.00")]),
    ]);
    given_facts(facts).then_row(AccountStatement {
        account: "ann".into(),
        position: Position(6),
        transaction: "T-2".into(),
        kind: LineKind::Posting,
        description: "rent".to_owned(),
        customer: Some("C-1".into()),
        amount: euros("30.00"),
        balance: euros("70.00"),
        posted_at: "2026-07-07T10:00:01Z".parse().unwrap(),
        value_date: "2026-01-01".into(),
        version: Version(1),
    });
}

#[test]
fn what_is_carried_forward_moves_nothing_and_is_no_line() {
    let posting = || posted("T-1", "2026-07-07T10:00:00Z", &[("cash", "100.00"), ("ann", "-100.00")]);
    let (account, name, kind) = ("ann".into(), "Account ann".to_owned(), kind_of("ann"));
    let balance = euros("0");
    let carried = on("T-1", BookEvent::BalanceCarriedForward { account, name, kind, balance });
    let facts = all_opened().into_iter().chain([carried, posting()]);
    let rows = [
        row("ann", "0", "100.00", "-100.00", 1),
        row("bob", "0", "0", "0", 0),
        row("cash", "100.00", "0", "100.00", 1),
        row("fees", "0", "0", "0", 0),
    ];
    given_facts(facts.clone()).then_rows(rows);
    let (account, name, kind, balance) = ("ann".into(), "Account ann".to_owned(), kind_of("ann"), "100.00");
    let held = AccountBalance { account, name, kind, balance: euros(balance), lines: 1 };
    given_facts(facts).then_row(held);
}

#[test]
fn a_sum_beyond_the_range_of_money_stays_at_its_end_and_breaks_nothing() {
    let end = || Money::from_thousandths(Money::THOUSANDTHS_MAX, Currency::EUR).unwrap();
    let almost = Money::from_thousandths(Money::THOUSANDTHS_MAX - 1, Currency::EUR).unwrap();
    let least = euros("0.001");
    assert_eq!(sum(almost, least), end(), "the end says that more may have been moved");
    assert_eq!(sum(almost, euros("5.00")), end());
    for (left, right) in [(end(), euros("-5.00")), (euros("-5.00"), end())] {
        assert_eq!(sum(left, right), end(), "a sum that is not known does not come to look exact");
    }
    let below = end().times(-1).unwrap();
    assert_eq!(sum(almost.times(-1).unwrap(), euros("-5.00")), below);
    assert_eq!(sum(almost, almost.times(-1).unwrap()), euros("0"), "within the range sums are exact");

    let amount = almost.amount();
    let opposite = format!("-{amount}");
    let most = [("cash", amount.as_str()), ("ann", opposite.as_str())];
    let facts = all_opened().into_iter().chain([
        posted("T-1", "2025-07-07T10:00:00Z", &most),
        posted("T-2", "2025-07-07T10:00:01Z", &most),
        posted("T-3", "2026-07-07T10:00:00Z", &[("ann", "5.00"), ("cash", "-5.00")]),
    ]);
    let given = || given_facts(facts.clone());
    given().then_row(TrialBalance {
        account: "cash".into(),
        name: "Account cash".to_owned(),
        kind: AccountKind::Asset,
        currency: "EUR".into(),
        open: true,
        debit: end(),
        credit: euros("5.00"),
        balance: end(),
        entries: 3,
        version: Version(1),
    });
    given().then_row(AccountBalance {
        account: "ann".into(),
        name: "Account ann".to_owned(),
        kind: AccountKind::Liability,
        balance: end(),
        lines: 3,
    });
    given().then_row(AccountYear {
        account: "cash".into(),
        year: "2026".into(),
        entries: 1,
        opening: end(),
        debit: euros("0"),
        credit: euros("5.00"),
        closing: end(),
        months: vec![month("2026-07", "0", "5.00")],
    });
    given().then_row(CustomerMonth {
        customer: "C-1".into(),
        month: "2025-07".into(),
        transactions: 2,
        reversals: 0,
        sums: vec![
            KindSum { kind: AccountKind::Asset, sum: end() },
            KindSum { kind: AccountKind::Liability, sum: below },
        ],
    });
}

#[test]
fn a_year_begins_with_what_the_years_before_it_left_in_whatever_order_they_come() {
    let facts = [
        posted("T-2", "2007-03-01T00:00:00Z", &[("cash", "50.00"), ("ann", "-50.00")]),
        posted("T-1", "2003-12-31T23:59:59Z", &[("cash", "100.00"), ("ann", "-100.00")]),
        posted("T-3", "2005-01-01T00:00:00Z", &[("ann", "20.00"), ("cash", "-20.00")]),
    ];
    let facts = || given_facts(all_opened().into_iter().chain(facts.clone()));
    facts().then_row(year("2003", 1, ["0", "100.00", "0", "100.00"], vec![month("2003-12", "100.00", "0")]));
    facts().then_row(year(
        "2005",
        1,
        ["100.00", "0", "20.00", "80.00"],
        vec![month("2005-01", "0", "20.00")],
    ));
    facts().then_row(year(
        "2007",
        1,
        ["80.00", "50.00", "0", "130.00"],
        vec![month("2007-03", "50.00", "0")],
    ));
}

#[test]
fn a_customer_s_month_adds_up_to_zero_whatever_is_posted_and_reversed() {
    let sides = [side(&("cash", "100.00")), side(&("ann", "-98.00")), side(&("fees", "-2.00"))];
    let opposite = sides.iter().map(PostedEntry::reversed).collect();
    let facts = [
        moved(LineKind::Posting, "T-1", "2026-07-07T10:00:00Z", sides.to_vec()),
        posted("T-2", "2026-07-08T10:00:00Z", &[("cash", "5.00"), ("bob", "-5.00")]),
        moved(LineKind::Reversal, "T-1", "2026-07-09T10:00:00Z", opposite),
    ];
    let sum = |kind, text| KindSum { kind, sum: euros(text) };
    given_facts(all_opened().into_iter().chain(facts)).then_row(CustomerMonth {
        customer: "C-1".into(),
        month: "2026-07".into(),
        transactions: 2,
        reversals: 1,
        sums: vec![
            sum(AccountKind::Asset, "5.00"),
            sum(AccountKind::Liability, "-5.00"),
            sum(AccountKind::Income, "0"),
        ],
    });
}

/// A history of a few years and accounts, the times in no order; the seed tells it again.
fn history(seed: u64) -> Vec<GivenFact> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut facts = all_opened();
    for number in 0..250 {
        let mut accounts: Vec<_> = ACCOUNTS.iter().map(|(account, _)| *account).collect();
        random.shuffle(&mut accounts);
        let amount = Money::from_thousandths(random.i64(1..100_000), Currency::EUR).unwrap();
        let entry =
            |account: &str, amount| PostedEntry { account: account.into(), kind: kind_of(account), amount };
        let entries = vec![entry(accounts[0], amount), entry(accounts[1], amount.times(-1).unwrap())];
        let kind = if random.u8(..5) == 0 { LineKind::Reversal } else { LineKind::Posting };
        let (year, month) = (2019 + random.i32(0..6), 1 + random.u8(0..12));
        let time = format!("{year}-{month:02}-15T00:00:00Z");
        facts.push(moved(kind, &format!("T-{number}"), &time, entries));
    }
    facts
}

const SEEDS: [u64; 2] = [1, 2];

fn given(seed: u64) -> GivenFacts {
    given_facts(history(seed))
}

#[test]
fn the_trial_balance_depends_on_the_facts_alone() {
    SEEDS.into_iter().for_each(|seed| given(seed).then_deterministic::<TrialBalance>());
}

#[test]
fn the_statements_depend_on_the_facts_alone() {
    SEEDS.into_iter().for_each(|seed| given(seed).then_deterministic::<AccountBalance>());
    SEEDS.into_iter().for_each(|seed| given(seed).then_deterministic::<AccountStatement>());
}

#[test]
fn the_years_depend_on_the_facts_alone() {
    SEEDS.into_iter().for_each(|seed| given(seed).then_deterministic::<AccountTotal>());
    SEEDS.into_iter().for_each(|seed| given(seed).then_deterministic::<AccountYear>());
}

#[test]
fn the_months_depend_on_the_facts_alone() {
    SEEDS.into_iter().for_each(|seed| given(seed).then_deterministic::<CustomerMonth>());
}

/// The years as a loop over the entries has them, reached without any projection.
fn years(facts: &[(Year, &'static str, Money)]) -> BTreeMap<(String, Year), (Money, Money)> {
    let mut moved: BTreeMap<(String, Year), Money> = BTreeMap::new();
    for (year, account, amount) in facts {
        let held = moved.entry(((*account).to_owned(), year.clone())).or_insert(euros("0"));
        *held = held.plus(*amount).unwrap();
    }
    let mut ends = BTreeMap::new();
    let mut held: BTreeMap<String, Money> = BTreeMap::new();
    for ((account, year), amount) in moved {
        let opening = held.get(&account).copied().unwrap_or(euros("0"));
        let closing = opening.plus(amount).unwrap();
        held.insert(account.clone(), closing);
        ends.insert((account, year), (opening, closing));
    }
    ends
}

#[test]
fn every_year_opens_as_the_one_before_it_closed() {
    let mut random = fastrand::Rng::with_seed(7);
    let (mut facts, mut moves) = (all_opened(), Vec::new());
    for number in 0..60 {
        let year = 2019 + random.i32(0..6);
        let amount = Money::from_thousandths(random.i64(1..100_000), Currency::EUR).unwrap();
        let back = amount.times(-1).unwrap();
        let entry =
            |account: &str, amount| PostedEntry { account: account.into(), kind: kind_of(account), amount };
        moves.extend([("cash", amount), ("ann", back)].map(|(to, of)| (Year::new(year.to_string()), to, of)));
        let time = format!("{year}-05-05T00:00:00Z");
        let entries = vec![entry("cash", amount), entry("ann", back)];
        facts.push(moved(LineKind::Posting, &format!("T-{number}"), &time, entries));
    }
    let zero = euros("0");
    let expected = years(&moves).into_iter().map(|((account, year), (opening, closing))| {
        let of_year = moves.iter().filter(|(held, to, _)| *held == year && **to == *account);
        let (mut entries, mut debit, mut credit) = (0, zero, zero);
        for (_, _, amount) in of_year {
            let (more, less) = sides(*amount);
            (entries, debit, credit) = (entries + 1, sum(debit, more), sum(credit, less));
        }
        let months = vec![MonthSum { month: format!("{year}-05").into(), entries, debit, credit }];
        let account = account.as_str().into();
        AccountYear { account, year, entries, opening, debit, credit, closing, months }
    });
    given_facts(facts).then_rows(expected.collect::<Vec<_>>());
}
