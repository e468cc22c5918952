//! The rules of the books as sentences, and books drawn at random that never break them.

use super::*;
use crate::facts::{
    AccountId, AccountKind, BookEvent, CurrencyCode, Entry, Overdraft, PostedEntry, TransactionId,
};
use diptych::prelude::*;
use diptych::testing::{GivenFact, given_log, on};

fn euros(text: &str) -> Money {
    Money::parse(text, Currency::EUR).unwrap()
}

fn opened_as(account: &str, kind: AccountKind, overdraft: Overdraft) -> GivenFact {
    let (name, currency) = (format!("Account {account}"), CurrencyCode::from("EUR"));
    on(account, BookEvent::AccountOpened { account: account.into(), name, kind, currency, overdraft })
}

fn opened_in_dollars() -> GivenFact {
    let (account, name, currency) = ("usd".into(), "Dollars".to_owned(), "USD".into());
    let (kind, overdraft) = (AccountKind::Asset, Overdraft::Allowed);
    on("usd", BookEvent::AccountOpened { account, name, kind, currency, overdraft })
}

/// Cash, which may be overdrawn, and two customers, who may not.
fn opened() -> Vec<GivenFact> {
    vec![
        opened_as("cash", AccountKind::Asset, Overdraft::Allowed),
        opened_as("ann", AccountKind::Liability, Overdraft::Refused),
        opened_as("bob", AccountKind::Liability, Overdraft::Refused),
    ]
}

fn entry(account: &str, amount: &str) -> Entry {
    Entry { account: account.into(), amount: euros(amount) }
}

fn post(entries: impl IntoIterator<Item = (&'static str, &'static str)>) -> BookCommand {
    BookCommand::PostTransaction {
        entries: entries.into_iter().map(|(account, amount)| entry(account, amount)).collect(),
        description: "a transfer".to_owned(),
        customer: None,
        value_date: None,
    }
}

fn sides(sides: &[(&str, &str)]) -> Vec<PostedEntry> {
    let kind = |account: &str| if account == "cash" { AccountKind::Asset } else { AccountKind::Liability };
    let side = |(account, amount): &(&str, &str)| PostedEntry {
        account: (*account).into(),
        kind: kind(account),
        amount: euros(amount),
    };
    sides.iter().map(side).collect()
}

fn guarded(sides: &[(&str, &str)]) -> Vec<AccountId> {
    sides.iter().filter(|(account, _)| *account != "cash").map(|(account, _)| (*account).into()).collect()
}

fn posted_event(transaction: &str, of: &[(&str, &str)]) -> BookEvent {
    BookEvent::TransactionPosted {
        transaction: transaction.into(),
        entries: sides(of),
        guarded: guarded(of),
        description: "a transfer".to_owned(),
        customer: None,
        value_date: "2026-07-07".into(),
    }
}

fn posted(transaction: &str, of: &[(&str, &str)]) -> GivenFact {
    on(transaction, posted_event(transaction, of))
}

fn reverse(accounts: &[&str]) -> BookCommand {
    let accounts = accounts.iter().map(|account| AccountId::from(*account)).collect();
    BookCommand::ReverseTransaction { accounts, reason: "a mistake".to_owned(), value_date: None }
}

/// A deposit of Ann's, and what comes after it.
fn deposited(more: impl IntoIterator<Item = GivenFact>) -> Vec<GivenFact> {
    let deposit = posted("T-1", &[("cash", "100.00"), ("ann", "-100.00")]);
    opened().into_iter().chain([deposit]).chain(more).collect()
}

#[track_caller]
fn check_rejected(log: Vec<GivenFact>, key: &str, command: BookCommand, rejection: BookRejection) {
    given_log::<Books>(log).on(key).when(command).then_rejected(rejection);
}

#[test]
fn a_balanced_transaction_is_posted() {
    given_log::<Books>(opened())
        .on("T-1")
        .when(post([("cash", "100.00"), ("ann", "-100.00")]))
        .then([posted_event("T-1", &[("cash", "100.00"), ("ann", "-100.00")])]);
}

#[test]
fn debits_and_credits_are_equal_in_each_currency() {
    let by = euros("0.01");
    let unbalanced = BookRejection::Unbalanced { currency: "EUR".into(), by };
    check_rejected(opened(), "T-1", post([("cash", "100.01"), ("ann", "-100.00")]), unbalanced);
    let mixed = BookCommand::PostTransaction {
        entries: vec![
            entry("cash", "1.00"),
            Entry { account: "ann".into(), amount: Money::parse("-1.00", Currency::GBP).unwrap() },
        ],
        description: "two currencies".to_owned(),
        customer: None,
        value_date: None,
    };
    let unbalanced = BookRejection::Unbalanced { currency: "EUR".into(), by: euros("1.00") };
    check_rejected(opened(), "T-1", mixed, unbalanced);
}

#[test]
fn a_transaction_has_two_entries_at_least_each_of_another_account_and_of_some_amount() {
    let one = BookRejection::EntriesNotValid { entries: 1, entries_min: 2, entries_max: 14 };
    check_rejected(opened(), "T-1", post([("cash", "1.00")]), one);
    let many = BookRejection::EntriesNotValid { entries: 15, entries_min: 2, entries_max: 14 };
    check_rejected(opened(), "T-1", post([("cash", "1.00"); 15]), many);
    let twice = BookRejection::AccountTwice { account: "cash".into() };
    check_rejected(opened(), "T-1", post([("cash", "1.00"), ("cash", "-1.00")]), twice);
    let nothing = BookRejection::AmountNotValid { amount: euros("0") };
    check_rejected(opened(), "T-1", post([("cash", "0"), ("ann", "0")]), nothing);
    let much = BookRejection::AmountNotValid { amount: euros("100000000.001") };
    check_rejected(opened(), "T-1", post([("cash", "100000000.001"), ("ann", "-100000000.001")]), much);
}

#[test]
fn an_account_that_refuses_overdraft_pays_what_it_has_and_no_more() {
    given_log::<Books>(deposited([]))
        .on("T-2")
        .when(post([("ann", "100.00"), ("cash", "-100.00")]))
        .then([posted_event("T-2", &[("ann", "100.00"), ("cash", "-100.00")])]);
    let overdraft =
        BookRejection::Overdraft { account: "ann".into(), balance: euros("100.00"), amount: euros("100.01") };
    check_rejected(deposited([]), "T-2", post([("ann", "100.01"), ("cash", "-100.01")]), overdraft);
    let spent = deposited([posted("T-2", &[("ann", "60.00"), ("bob", "-60.00")])]);
    let overdraft =
        BookRejection::Overdraft { account: "ann".into(), balance: euros("40.00"), amount: euros("50.00") };
    check_rejected(spent.clone(), "T-3", post([("ann", "50.00"), ("cash", "-50.00")]), overdraft);
    given_log::<Books>(spent)
        .on("T-3")
        .when(post([("bob", "60.00"), ("ann", "-60.00")]))
        .then([posted_event("T-3", &[("bob", "60.00"), ("ann", "-60.00")])]);
}

#[test]
fn an_account_that_allows_overdraft_is_never_read_and_pays_anything() {
    given_log::<Books>(deposited([]))
        .on("T-2")
        .when(post([("ann", "-900.00"), ("cash", "900.00")]))
        .then([posted_event("T-2", &[("ann", "-900.00"), ("cash", "900.00")])]);
}

#[test]
fn entries_need_accounts_that_are_open_and_of_their_currency() {
    let missing = BookRejection::AccountNotOpen { account: "eve".into() };
    check_rejected(opened(), "T-1", post([("cash", "1.00"), ("eve", "-1.00")]), missing);
    let mut log = opened();
    log.push(on("ann", BookEvent::AccountClosed { account: "ann".into() }));
    let closed = BookRejection::AccountNotOpen { account: "ann".into() };
    check_rejected(log, "T-1", post([("cash", "1.00"), ("ann", "-1.00")]), closed);
    let mut log = opened();
    log.push(opened_in_dollars());
    let mismatch = BookRejection::CurrencyMismatch {
        account: "usd".into(),
        currency: "EUR".into(),
        expected: "USD".into(),
    };
    check_rejected(log, "T-1", post([("cash", "1.00"), ("usd", "-1.00")]), mismatch);
}

#[test]
fn a_transaction_is_reversed_once_and_never_edited() {
    let opposite = [("cash", "-100.00"), ("ann", "100.00")];
    let reversed = BookEvent::TransactionReversed {
        transaction: "T-1".into(),
        entries: sides(&opposite),
        guarded: guarded(&opposite),
        reason: "a mistake".to_owned(),
        customer: None,
        value_date: "2026-07-07".into(),
    };
    given_log::<Books>(deposited([])).on("T-1").when(reverse(&["ann", "cash"])).then([reversed.clone()]);
    let again = BookRejection::AlreadyReversed { transaction: TransactionId::from("T-1") };
    check_rejected(deposited([on("T-1", reversed)]), "T-1", reverse(&["ann", "cash"]), again);
    let posted = BookRejection::TransactionAlreadyPosted;
    check_rejected(deposited([]), "T-1", post([("cash", "1.00"), ("ann", "-1.00")]), posted);
    check_rejected(deposited([]), "T-9", reverse(&["ann"]), BookRejection::TransactionNotFound);
}

#[test]
fn a_reversal_names_the_accounts_that_it_is_decided_on() {
    let differ = BookRejection::AccountsDiffer { accounts: vec!["ann".into(), "cash".into()] };
    check_rejected(deposited([]), "T-1", reverse(&["cash"]), differ);
}

#[test]
fn a_reversal_overdraws_nobody() {
    let spent = deposited([posted("T-2", &[("ann", "60.00"), ("bob", "-60.00")])]);
    let overdraft =
        BookRejection::Overdraft { account: "ann".into(), balance: euros("40.00"), amount: euros("100.00") };
    check_rejected(spent, "T-1", reverse(&["ann", "cash"]), overdraft);
}

#[test]
fn a_guarded_account_is_closed_at_zero() {
    let full = BookRejection::AccountNotEmpty { balance: euros("100.00") };
    check_rejected(deposited([]), "ann", BookCommand::CloseAccount, full);
    let empty = deposited([posted("T-2", &[("ann", "100.00"), ("cash", "-100.00")])]);
    given_log::<Books>(empty)
        .on("ann")
        .when(BookCommand::CloseAccount)
        .then([BookEvent::AccountClosed { account: "ann".into() }]);
    let missing = BookRejection::AccountNotFound { account: "eve".into() };
    check_rejected(opened(), "eve", BookCommand::CloseAccount, missing);
}

#[test]
fn an_id_names_an_account_or_a_transaction() {
    let open = |currency: &str| BookCommand::OpenAccount {
        name: "Cash".to_owned(),
        kind: AccountKind::Asset,
        currency: currency.into(),
        overdraft: Overdraft::Allowed,
    };
    check_rejected(opened(), "cash", open("EUR"), BookRejection::AccountExists);
    check_rejected(deposited([]), "T-1", open("EUR"), BookRejection::IdInUse);
    check_rejected(opened(), "cash", post([("cash", "1.00"), ("ann", "-1.00")]), BookRejection::IdInUse);
    let unknown = BookRejection::CurrencyNotKnown { currency: "GBX".into() };
    check_rejected(opened(), "till", open("GBX"), unknown);
}

#[test]
fn a_day_is_a_day() {
    let command = BookCommand::PostTransaction {
        entries: vec![entry("cash", "1.00"), entry("ann", "-1.00")],
        description: "later".to_owned(),
        customer: None,
        value_date: Some("2026-02-30".into()),
    };
    let wrong = BookRejection::ValueDateNotValid { value_date: "2026-02-30".into() };
    check_rejected(opened(), "T-1", command, wrong);
}

/// What Ann's deposit carries forward.
fn carried(balance: &str) -> BookEvent {
    let (name, kind) = ("Account ann".to_owned(), AccountKind::Liability);
    BookEvent::BalanceCarriedForward { account: "ann".into(), name, kind, balance: euros(balance) }
}

/// As many deposits of Ann's as are read at most, so that the next posting carries them forward.
fn due() -> Vec<GivenFact> {
    let number = |number| posted(&format!("T-{number}"), &[("cash", "1.00"), ("ann", "-1.00")]);
    opened().into_iter().chain((0..POSTINGS_CARRIED_MAX).map(number)).collect()
}

/// The same, carried forward by the posting after them, which leaves 60.00.
fn carried_forward() -> Vec<GivenFact> {
    let moved = [("ann", "40.00"), ("bob", "-40.00")];
    due().into_iter().chain([on("T", carried("100.00")), posted("T", &moved)]).collect()
}

#[test]
fn what_a_guarded_account_holds_is_carried_forward_before_too_many_postings_are_to_be_read() {
    let moved = [("ann", "40.00"), ("bob", "-40.00")];
    given_log::<Books>(due()).on("T").when(post(moved)).then([carried("100.00"), posted_event("T", &moved)]);
    let early: Vec<_> = due().into_iter().take(2 + POSTINGS_CARRIED_MAX as usize).collect();
    given_log::<Books>(early).on("T").when(post(moved)).then([posted_event("T", &moved)]);
    given_log::<Books>(carried_forward()).on("T+1").when(post(moved)).then([posted_event("T+1", &moved)]);
}

#[test]
fn what_was_carried_forward_is_what_an_account_pays_from() {
    let overdraft =
        BookRejection::Overdraft { account: "ann".into(), balance: euros("60.00"), amount: euros("60.01") };
    check_rejected(carried_forward(), "T+1", post([("ann", "60.01"), ("cash", "-60.01")]), overdraft);
    let all = [("ann", "60.00"), ("cash", "-60.00")];
    given_log::<Books>(carried_forward()).on("T+1").when(post(all)).then([posted_event("T+1", &all)]);
    check_rejected(
        carried_forward(),
        "ann",
        BookCommand::CloseAccount,
        BookRejection::AccountNotEmpty { balance: euros("60.00") },
    );
    let one = |account: &str, amount| Entry {
        account: account.into(),
        amount: Money::parse(amount, Currency::USD).unwrap(),
    };
    let command = BookCommand::PostTransaction {
        entries: vec![one("usd", "1.00"), one("ann", "-1.00")],
        description: "dollars".to_owned(),
        customer: None,
        value_date: None,
    };
    let (account, currency, expected) = ("ann".into(), "USD".into(), "EUR".into());
    let mismatch = BookRejection::CurrencyMismatch { account, currency, expected };
    let log = carried_forward().into_iter().chain([opened_in_dollars()]).collect();
    check_rejected(log, "T+1", command, mismatch);
}

#[test]
fn a_transaction_from_before_is_reversed_from_what_was_carried_forward() {
    let opposite = [("cash", "-1.00"), ("ann", "1.00")];
    let reversed = |transaction: &str| BookEvent::TransactionReversed {
        transaction: transaction.into(),
        entries: sides(&opposite),
        guarded: guarded(&opposite),
        reason: "a mistake".to_owned(),
        customer: None,
        value_date: "2026-07-07".into(),
    };
    let log = || given_log::<Books>(carried_forward());
    log().on("T-7").when(reverse(&["ann", "cash"])).then([reversed("T-7")]);
    let again = carried_forward().into_iter().chain([on("T-7", reversed("T-7"))]).collect();
    let rejection = BookRejection::AlreadyReversed { transaction: "T-7".into() };
    check_rejected(again, "T-7", reverse(&["ann", "cash"]), rejection);
    // A reversal is a posting like any other: it carries forward where that is due.
    given_log::<Books>(due())
        .on("T-7")
        .when(reverse(&["ann", "cash"]))
        .then([carried("100.00"), reversed("T-7")]);
    // The stream of the transaction that carried forward says what was held then, not what is held now.
    let spent = posted("T+1", &[("ann", "60.00"), ("cash", "-60.00")]);
    let later = on("T+2", carried("0"));
    let log: Vec<_> = carried_forward().into_iter().chain([spent, later]).collect();
    let back =
        BookRejection::Overdraft { account: "bob".into(), balance: euros("0"), amount: euros("40.00") };
    let gone = posted("T+3", &[("bob", "40.00"), ("cash", "-40.00")]);
    let log: Vec<_> = log.into_iter().chain([gone]).collect();
    check_rejected(log.clone(), "T", reverse(&["ann", "bob"]), back);
    let overdraft =
        BookRejection::Overdraft { account: "ann".into(), balance: euros("0"), amount: euros("1.00") };
    check_rejected(log, "T-7", reverse(&["ann", "cash"]), overdraft);
}

#[test]
fn an_account_that_was_carried_forward_is_opened_once_and_closed_at_zero() {
    let command = BookCommand::OpenAccount {
        name: "Ann again".to_owned(),
        kind: AccountKind::Liability,
        currency: "EUR".into(),
        overdraft: Overdraft::Refused,
    };
    check_rejected(carried_forward(), "ann", command, BookRejection::AccountExists);
    let spent = posted("T+1", &[("ann", "60.00"), ("cash", "-60.00")]);
    let empty: Vec<_> = carried_forward().into_iter().chain([spent]).collect();
    given_log::<Books>(empty.clone())
        .on("ann")
        .when(BookCommand::CloseAccount)
        .then([BookEvent::AccountClosed { account: "ann".into() }]);
    let closed = on("ann", BookEvent::AccountClosed { account: "ann".into() });
    let log: Vec<_> = empty.into_iter().chain([closed]).collect();
    let rejection = BookRejection::AccountNotOpen { account: "ann".into() };
    check_rejected(log, "T+2", post([("cash", "1.00"), ("ann", "-1.00")]), rejection);
}

#[test]
fn a_guarded_account_holds_so_much_and_no_more() {
    let most = on("T", carried("1000000000000.00"));
    let log: Vec<_> = opened().into_iter().chain([most]).collect();
    let rejection =
        BookRejection::BalanceTooLarge { account: "ann".into(), balance_max: euros("1000000000000.00") };
    check_rejected(log.clone(), "T+1", post([("cash", "0.001"), ("ann", "-0.001")]), rejection);
    let away = [("ann", "0.001"), ("cash", "-0.001")];
    given_log::<Books>(log).on("T+1").when(post(away)).then([posted_event("T+1", &away)]);
}

#[test]
fn an_account_that_holds_more_than_the_most_from_before_there_was_one_still_pays() {
    let more = on("T", carried("1000000000005.00"));
    let log: Vec<_> = opened().into_iter().chain([more]).collect();
    let away = [("ann", "1.00"), ("cash", "-1.00")];
    given_log::<Books>(log).on("T+1").when(post(away)).then([posted_event("T+1", &away)]);
}
