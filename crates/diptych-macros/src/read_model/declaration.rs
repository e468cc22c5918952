//! The attributes on a read model's struct.

use crate::{attributes, names};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Expr, LitInt, LitStr, Path, Result, Token, Type};

/// What `#[read_model(...)]` says.
pub(super) struct Declaration {
    pub(super) name: String,
    /// The last part of the address; empty where it follows from the name.
    pub(super) path: String,
    pub(super) revision: u32,
    /// The variant of `Mode`.
    pub(super) mode: &'static str,
    pub(super) contract: Contract,
    /// The read models that the projection looks rows up in.
    pub(super) reads: Vec<Path>,
    /// Into how many partitions its rows are split.
    pub(super) partitions: u8,
    /// The variant of `Tenants`.
    pub(super) tenants: &'static str,
    /// The category of the aggregates that rows are about; empty where that is not declared.
    pub(super) about: String,
    /// Whether answers name what is under way.
    pub(super) pending: bool,
    /// Whether a row is kept as a document.
    pub(super) document: bool,
    /// The export that it is folded from; empty where that is not declared.
    pub(super) source: String,
    pub(super) default_sort: Option<Sorted>,
    /// Fields of `Upkeep` that were declared, each with its value.
    pub(super) upkeep: Vec<(Ident, TokenStream)>,
    /// In what the revision means to differ.
    pub(super) intended: Option<Intended>,
    /// Fields of `Governance` that were declared.
    pub(super) governance: Vec<(Ident, String)>,
}

/// In what a revision means to differ from the one before.
pub(super) struct Intended {
    pub(super) columns: Vec<String>,
    pub(super) rows_added: bool,
    pub(super) rows_removed: bool,
    pub(super) span: Span,
}

/// A promise about freshness.
pub(super) enum Contract {
    Strong,
    Eventual,
    Bounded { millis: u64, refuse: bool },
}

/// A column by name, with a direction.
pub(super) struct Sorted {
    pub(super) column: Ident,
    pub(super) descending: bool,
}

/// What `#[computed(...)]` says.
pub(super) struct Computed {
    pub(super) name: Ident,
    pub(super) public: String,
    pub(super) ty: Type,
    pub(super) function: Expr,
}

const KNOWN: &str = "name, path, revision, owner, inline, on_demand, contract, tenants, about, pending, \
document, source, default_sort, reads, \
partitions, on_failure, degraded, patrol, corrections, intended, purpose, journey, freshness_target, \
correctness_target, latency_target, signed_off_by, signed_off_on, sign_off_cadence, runbook";

/// As the query crate has it: a partition owns at least one bucket of the digest.
const PARTITIONS_MAX: u8 = 64;

const GOVERNANCE: [&str; 10] = [
    "owner",
    "purpose",
    "journey",
    "freshness_target",
    "correctness_target",
    "latency_target",
    "signed_off_by",
    "signed_off_on",
    "sign_off_cadence",
    "runbook",
];

/// Reads `#[read_model(...)]`.
pub(super) fn read(input: &DeriveInput) -> Result<Declaration> {
    let (mut name, mut path, mut revision) = (None, String::new(), None);
    let mut mode = "Asynchronous";
    let (mut contract, mut tenants, mut default_sort) = (Contract::Eventual, "Own", None);
    let mut governance: Vec<(Ident, String)> = Vec::new();
    let (mut reads, mut partitions, mut about, mut source) = (Vec::new(), None, None, None);
    let (mut pending, mut document) = (None, false);
    let (mut upkeep, mut intended, mut parks) = (Vec::new(), None, None);
    attributes::read_entries(&input.attrs, "read_model", KNOWN, |entry_name, entry| {
        match entry_name {
            "name" => name = Some(model_name(&attributes::text(entry)?)?),
            "path" => path = path_name(&attributes::text(entry)?)?,
            "revision" => revision = Some(attributes::count(entry)?),
            "inline" | "on_demand" if mode != "Asynchronous" => {
                return Err(entry.error("a read model is `inline` or `on_demand`, not both"));
            }
            "inline" => mode = "Inline",
            "on_demand" => mode = "OnDemand",
            "contract" => contract = read_contract(&attributes::text(entry)?)?,
            "tenants" => tenants = read_tenants(&attributes::value(entry)?)?,
            "reads" => entry.parse_nested_meta(|sibling| {
                reads.push(sibling.path);
                Ok(())
            })?,
            "about" => about = Some(category(&attributes::text(entry)?)?),
            "pending" => pending = Some(entry.path.span()),
            "document" => document = true,
            "source" => source = Some(job_name(&attributes::text(entry)?)?),
            "partitions" => partitions = Some(partition_count(&attributes::value(entry)?)?),
            "default_sort" => default_sort = Some(attributes::text(entry)?.parse::<Sorted>()?),
            "intended" => intended = Some(read_intended(&attributes::text(entry)?)?),
            "on_failure" | "degraded" | "patrol" | "corrections" => {
                let text = attributes::text(entry)?;
                upkeep.push(read_upkeep(entry_name, &text)?);
                if entry_name == "on_failure" && text.value() == "park" {
                    parks = Some(text.span());
                }
            }
            text if GOVERNANCE.contains(&text) => {
                let ident = Ident::new(text, Span::call_site());
                governance.push((ident, attributes::text(entry)?.value()));
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if !governance.iter().any(|(field, _)| field == "owner") {
        return Err(missing(input, "owner"));
    }
    refuse_alone(mode, &reads, partitions.as_ref(), parks)?;
    refuse_of_nobody(pending, about.as_deref())?;
    Ok(Declaration {
        name: name.ok_or_else(|| missing(input, "name"))?,
        path,
        revision: revision.ok_or_else(|| missing(input, "revision"))?,
        mode,
        contract,
        reads,
        partitions: partitions.map_or(1, |(count, _)| count),
        tenants,
        about: about.unwrap_or_default(),
        pending: pending.is_some(),
        document,
        source: source.unwrap_or_default(),
        default_sort,
        upkeep,
        intended,
        governance,
    })
}

fn missing(input: &DeriveInput, what: &str) -> Error {
    let form = "#[read_model(name = \"...\", revision = 1, owner = \"...\")]";
    Error::new(input.ident.span(), format!("`ReadModel` needs `{form}`: {what} is missing"))
}

/// Refuses to name what is under way where nobody knows for whom.
fn refuse_of_nobody(pending: Option<Span>, about: Option<&str>) -> Result<()> {
    let message = "`pending` names commands that are under way for a row: say whose they are, with \
                   `about = \"order\"`";
    match (pending, about) {
        (Some(span), None) => Err(Error::new(span, message)),
        _ => Ok(()),
    }
}

/// Refuses what a read model declares that only one by itself, which a worker folds, can have.
fn refuse_alone(
    mode: &str,
    reads: &[Path],
    partitions: Option<&(u8, LitInt)>,
    parks: Option<Span>,
) -> Result<()> {
    let (undivided, unparkable) = match (mode, reads.is_empty()) {
        ("Inline", _) => (
            "an inline read model",
            "an inline read model cannot park: a fact that it cannot take fails its command",
        ),
        (_, false) => (
            "a read model that looks rows up in others",
            "a read model that looks rows up in others cannot park: a row that is held back would be looked \
             up",
        ),
        _ => return Ok(()),
    };
    if let Some((_, number)) = partitions.filter(|(count, _)| *count > 1) {
        let message = format!("{undivided} has one partition: its rows move together");
        return Err(Error::new(number.span(), message));
    }
    parks.map_or(Ok(()), |span| Err(Error::new(span, unparkable)))
}

/// Reads every `#[index(...)]`.
pub(super) fn indexes(input: &DeriveInput) -> Result<Vec<Vec<Sorted>>> {
    let declared = input.attrs.iter().filter(|attribute| attribute.path().is_ident("index"));
    let read = declared.map(|attribute| {
        let columns = attribute.parse_args_with(Punctuated::<Sorted, Token![,]>::parse_terminated)?;
        if columns.is_empty() {
            return Err(Error::new_spanned(attribute, "an index needs at least one column"));
        }
        let mut seen = Vec::new();
        for sorted in &columns {
            attributes::once(&mut seen, &sorted.column.to_string(), sorted.column.span(), "the column")?;
        }
        Ok(columns.into_iter().collect())
    });
    read.collect()
}

/// Reads every `#[computed(...)]`.
pub(super) fn computed(input: &DeriveInput) -> Result<Vec<Computed>> {
    let declared = input.attrs.iter().filter(|attribute| attribute.path().is_ident("computed"));
    declared.map(|attribute| attribute.parse_args::<Computed>()).collect()
}

impl Parse for Sorted {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let column = Ident::parse_any(input)?;
        let descending = if input.is_empty() || input.peek(Token![,]) {
            false
        } else {
            let direction: Ident = input.parse()?;
            match direction.to_string().as_str() {
                "asc" => false,
                "desc" => true,
                other => {
                    let message = format!("`{other}` is not a direction; known are asc, desc");
                    return Err(Error::new(direction.span(), message));
                }
            }
        };
        Ok(Self { column, descending })
    }
}

impl Parse for Computed {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name: Ident = input.parse()?;
        input.parse::<Token![:]>()?;
        let ty = input.parse()?;
        input.parse::<Token![=]>()?;
        let function = input.parse()?;
        Ok(Self { public: names::camel(&name.to_string()), name, ty, function })
    }
}

fn model_name(text: &LitStr) -> Result<String> {
    if names::is_snake(&text.value()) {
        Ok(text.value())
    } else {
        Err(Error::new(text.span(), "the name of a read model is snake_case ASCII, such as `order_summary`"))
    }
}

fn category(text: &LitStr) -> Result<String> {
    if names::is_snake(&text.value()) {
        Ok(text.value())
    } else {
        Err(Error::new(text.span(), "a category is snake_case ASCII, such as `order`"))
    }
}

fn job_name(text: &LitStr) -> Result<String> {
    if names::is_kebab(&text.value()) {
        Ok(text.value())
    } else {
        let message = "the name of a scheduled export is kebab-case ASCII, such as `nightly-events`";
        Err(Error::new(text.span(), message))
    }
}

fn path_name(text: &LitStr) -> Result<String> {
    if names::is_kebab(&text.value()) {
        Ok(text.value())
    } else {
        let message =
            "the path of a read model is kebab-case ASCII without `/`, such as `decision-work-queue`";
        Err(Error::new(text.span(), message))
    }
}

fn partition_count(number: &LitInt) -> Result<(u8, LitInt)> {
    match number.base10_parse() {
        Ok(count @ 1..=PARTITIONS_MAX) => Ok((count, number.clone())),
        _ => Err(Error::new(number.span(), format!("a read model has 1 to {PARTITIONS_MAX} partitions"))),
    }
}

fn read_tenants(word: &Ident) -> Result<&'static str> {
    match word.to_string().as_str() {
        "own" => Ok("Own"),
        "all" => Ok("All"),
        other => {
            let message = format!("`{other}` is not known here; known are own, all");
            Err(Error::new(word.span(), message))
        }
    }
}

/// One of the fields of `Upkeep` with its variant.
fn read_upkeep(field: &str, text: &LitStr) -> Result<(Ident, TokenStream)> {
    let (known, ty): (&[(&str, &str)], _) = match field {
        "on_failure" => (&[("stop", "Stop"), ("park", "Park")], "OnFailure"),
        "degraded" => (&[("flag", "Flag"), ("refuse", "Refuse")], "Degraded"),
        "patrol" => (&[("by scan", "ByScan"), ("by stream", "ByStream")], "Patrol"),
        _ => (&[("refused", "Refused"), ("kept", "Kept"), ("until_rebuild", "UntilRebuild")], "Corrections"),
    };
    let value = text.value();
    let Some((_, variant)) = known.iter().find(|(word, _)| *word == value) else {
        let words: Vec<_> = known.iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
        return Err(Error::new(text.span(), format!("`{field}` is {}", words.join(" or "))));
    };
    let (ty, variant) = (Ident::new(ty, Span::call_site()), Ident::new(variant, Span::call_site()));
    Ok((Ident::new(field, Span::call_site()), quote!(::diptych::__private::query::#ty::#variant)))
}

/// `status, shipping_city, +rows, -rows`.
fn read_intended(text: &LitStr) -> Result<Intended> {
    let value = text.value();
    let mut intended =
        Intended { columns: Vec::new(), rows_added: false, rows_removed: false, span: text.span() };
    for word in value.split(',').map(str::trim) {
        match word {
            "+rows" => intended.rows_added = true,
            "-rows" => intended.rows_removed = true,
            column if names::is_snake(column) => intended.columns.push(column.to_owned()),
            _ => {
                let message = "`intended` names columns, `+rows` and `-rows`: `\"status, +rows\"`";
                return Err(Error::new(text.span(), message));
            }
        }
    }
    Ok(intended)
}

fn read_contract(text: &LitStr) -> Result<Contract> {
    let value = text.value();
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let contract = match words.as_slice() {
        ["strong"] => Some(Contract::Strong),
        ["eventual"] => Some(Contract::Eventual),
        ["bounded", bound] => millis(bound).map(|millis| Contract::Bounded { millis, refuse: false }),
        ["bounded", bound, "refuse"] => {
            millis(bound).map(|millis| Contract::Bounded { millis, refuse: true })
        }
        _ => None,
    };
    contract.ok_or_else(|| {
        let message = "a contract is `strong`, `eventual`, `bounded 5s` or `bounded 500ms refuse`";
        Error::new(text.span(), message)
    })
}

/// `500ms`, `5s` or `2min` in milliseconds, at least 1.
fn millis(bound: &str) -> Option<u64> {
    let (number, factor) = [("ms", 1), ("s", 1_000), ("min", 60_000)]
        .into_iter()
        .find_map(|(unit, factor)| Some((bound.strip_suffix(unit)?, factor)))?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| plain)?;
    number.checked_mul(factor).filter(|millis| *millis > 0)
}
