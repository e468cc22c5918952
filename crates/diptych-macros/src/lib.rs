//! Derives for Diptych. Each is equal to code that a user could write by hand, and is shown beside it.
//!
//! They are re-exported by the front door, and generated code names its crate alone. Absent here, on purpose:
//! any registration at link time, any attribute on a function, any knowledge of stores or transports.

mod attributes;
mod command;
mod data;
mod event;
mod event_set;
mod id;
mod names;
mod payload;
mod read_model;
mod rejection;
mod scalar;
mod shape;
mod tag;

use proc_macro::TokenStream;
use syn::{DeriveInput, Error, Result, parse_macro_input};

/// An event language: the facts of one category. Names and payloads are the stored format.
///
/// ```text
/// #[derive(Clone, Debug, PartialEq, Event)]
/// #[event(category = "order", owner = "sales", retired = "OrderNoted, OrderSeen")]
/// pub enum OrderEvent {
///     /// The customer committed to buy.
///     #[event(version = 3, v1 = PlacedV1, v2 = PlacedV2)]
///     Placed { #[tag] customer: CustomerId, lines: Vec<Line> },       // #[tag("buyer")] names it otherwise
///     #[event(name = "OrderConfirmed")]
///     Confirmed,
/// }
///
/// impl From<PlacedV1> for PlacedV2 { .. }      // the upcasts, from each version to the one after it,
/// impl From<PlacedV2> for OrderEvent { .. }    // and from the last of them to today's event
/// ```
///
/// A further version needs one more `From`: the last of them then leads to the new payload type. A type that
/// the language does not know is an error, unless `unknown = "ignore"` says that a part of a category is
/// read; a decider's own language may not say so.
///
/// Equal to this by hand:
///
/// ```text
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// #[serde(rename_all = "camelCase")]
/// struct Placed { customer: CustomerId, lines: Vec<Line> }
///
/// impl Event for OrderEvent {
///     const CATEGORY: &'static str = "order";
///     const OWNER: &'static str = "sales";
///     const TYPES: &'static [EventType] =
///         &[EventType { name: "Placed", version: 3, meaning: "The customer committed to buy." }, ..];
///     fn event_type(&self) -> EventType { match self { Self::Placed { .. } => Self::TYPES[0], .. } }
///     fn encode(&self) -> Result<String, EncodeError> { .. serde_json::to_string(..) .. }
///     fn tags(&self) -> Result<Vec<Tag>, EncodeError> {
///         match self { Self::Placed { customer, .. } => .. Tag::add(&mut tags, "customer", customer) .. }
///     }
///     fn decode(name: &str, version: u32, payload: &str) -> Result<Option<Self>, DecodeError> {
///         match (name, version) {
///             ("Placed", 3) => serde_json::from_str::<Placed>(payload).map(..),
///             ("Placed", 2) => serde_json::from_str::<PlacedV2>(payload).map(Self::from),
///             ("Placed", 1) => {
///                 serde_json::from_str::<PlacedV1>(payload).map(PlacedV2::from).map(Self::from)
///             }
///             ("OrderNoted" | "OrderSeen", _) => Ok(None),
///             ..
///         }
///     }
///     fn schemas(generator: &mut SchemaGenerator) -> Vec<Schema> {
///         vec![Placed::json_schema(generator), ..]
///     }
/// }
/// ```
#[proc_macro_derive(Event, attributes(event, tag))]
pub fn event(input: TokenStream) -> TokenStream {
    run(input, event::derive)
}

/// Several event languages that one projection reads, as an enum with one language in each variant.
///
/// ```text
/// #[derive(Clone, Debug, EventSet)]
/// pub enum QueueEvent {
///     Decision(DecisionEvent),
///     #[event(unknown = "ignore")]     // types that `CaseEvent` does not know are passed over and counted
///     Case(CaseEvent),
/// }
/// ```
///
/// Equal to this by hand; two languages of one category do not compile:
///
/// ```text
/// impl EventSet for QueueEvent {
///     const CATEGORIES: &'static [&'static str] = &[DecisionEvent::CATEGORY, CaseEvent::CATEGORY];
///     const LANGUAGES: &'static [Language] = &[DecisionEvent::LANGUAGE, CaseEvent::LANGUAGE.ignoring()];
///     fn decode_in(category: &str, name: &str, version: u32, payload: &str)
///         -> Result<Option<Self>, DecodeError> {
///         match category {
///             DecisionEvent::CATEGORY => {
///                 Ok(DecisionEvent::decode(name, version, payload)?.map(Self::Decision))
///             }
///             CaseEvent::CATEGORY => match CaseEvent::decode(name, version, payload) {
///                 Err(DecodeError::UnknownType { .. }) => Ok(None),
///                 read => Ok(read?.map(Self::Case)),
///             },
///             _ => Err(DecodeError::foreign(category)),
///         }
///     }
/// }
/// ```
#[proc_macro_derive(EventSet, attributes(event))]
pub fn event_set(input: TokenStream) -> TokenStream {
    run(input, event_set::derive)
}

/// A command language: what may be asked of one decider.
///
/// ```text
/// #[derive(Clone, Debug, PartialEq, Command)]
/// #[command(text_bytes_max = 20000)]       // the longest text of a body; 1,000 unless said otherwise
/// pub enum OrderCommand {
///     /// Buy.
///     Place { customer: CustomerId, lines: Vec<Line> },
///     #[command(segment = "approval-requests", key_required)]
///     RequestApproval { reason: String },
///     #[command(actor = "approvedBy")]     // a member of an envelope only, which must name who asks
///     Approve { reason: String },
/// }
/// ```
///
/// Equal to this by hand:
///
/// ```text
/// impl Command for OrderCommand {
///     const TYPES: &'static [CommandType] = &[
///         CommandType {
///             name: "Place", segment: "place", meaning: "Buy.", key_required: false, actor: None,
///         },
///         ..
///     ];
///     fn command_type(&self) -> CommandType { match self { Self::Place { .. } => Self::TYPES[0], .. } }
///     fn encode(&self) -> Result<String, EncodeError> { .. serde_json::to_string(..) .. }
///     fn decode(name: &str, body: &str) -> Result<Self, ShapeError> {
///         match name {
///             "Place" => {
///                 let mut fields = Fields::parse_with(body, 20000)?;
///                 let (customer, lines) = (fields.take("customer"), fields.take("lines"));
///                 fields.finish()?;                 // names every field that is missing, unknown or wrong
///                 ..
///             }
///             ..
///         }
///     }
///     fn schemas(generator: &mut SchemaGenerator) -> Vec<Schema> { .. }
/// }
/// ```
#[proc_macro_derive(Command, attributes(command))]
pub fn command(input: TokenStream) -> TokenStream {
    run(input, command::derive)
}

/// What the domain says when it says no: a sentence for people, a name and data for programs.
///
/// ```text
/// #[derive(Clone, Debug, PartialEq, Rejection)]
/// pub enum OrderRejection {
///     #[reject("the order is already cancelled: {reason}")]
///     OrderAlreadyCancelled { reason: String },
///     #[reject("there is no such order", not_found)]
///     OrderNotFound,
/// }
/// ```
///
/// Equal to this by hand:
///
/// ```text
/// impl Display for OrderRejection {
///     fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
///         match self {
///             Self::OrderAlreadyCancelled { reason } => {
///                 write!(out, "the order is already cancelled: {reason}")
///             }
///             Self::OrderNotFound => write!(out, "there is no such order"),
///         }
///     }
/// }
///
/// impl Error for OrderRejection {}
///
/// impl Rejection for OrderRejection {
///     const TYPES: &'static [RejectionType] = &[
///         RejectionType { name: "order_already_cancelled", kind: RejectionKind::Refused, meaning: "" },
///         RejectionType { name: "order_not_found", kind: RejectionKind::NotFound, meaning: "" },
///     ];
///     fn rejection_type(&self) -> RejectionType { .. }
///     fn encode(&self) -> Result<String, EncodeError> { .. serde_json::to_string(..) .. }
///     fn decode(name: &str, data: &str) -> Result<Self, DecodeError> { .. serde_json::from_str(..) .. }
///     fn schemas(generator: &mut SchemaGenerator) -> Vec<Schema> { .. }
/// }
/// ```
#[proc_macro_derive(Rejection, attributes(reject))]
pub fn rejection(input: TokenStream) -> TokenStream {
    run(input, rejection::derive)
}

/// A typed identity over text: `struct OrderId(String);` and nothing else derived.
///
/// ```text
/// /// Identifies an order.
/// #[derive(Id)]
/// pub struct OrderId(String);
///
/// let id = OrderId::new("42");
/// ```
///
/// Equal to this by hand: `Clone`, `Debug`, `PartialEq`, `Eq`, `PartialOrd`, `Ord`, `Hash`, `Display`,
/// `From<&str>`, `From<String>`, `AsRef<str>` and `JsonSchema` over the text, and
///
/// ```text
/// impl OrderId {
///     pub fn new(text: impl Into<String>) -> Self { Self(text.into()) }
/// }
///
/// impl Serialize for OrderId {
///     fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
///         Self::check(&self.0).map_err(S::Error::custom)?;      // an empty id is never stored ...
///         serializer.serialize_str(&self.0)
///     }
/// }
///
/// impl<'de> Deserialize<'de> for OrderId {
///     fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
///         let text = String::deserialize(deserializer)?;
///         Self::check(&text).map_err(D::Error::custom)?;        // ... and never accepted
///         Ok(Self(text))
///     }
/// }
///
/// impl Portable for OrderId {
///     const TYPE: ValueType = ValueType::Text;
///     fn to_value(&self) -> Value { Value::Text(self.0.clone()) }
///     fn into_value(self) -> Value { Value::Text(self.0) }
///     fn from_value(value: &Value) -> Result<Self, DecodeError> { .. }
/// }
///
/// impl Id for OrderId {
///     fn from_key(key: &str) -> Self { Self(key.to_owned()) }
///     fn as_str(&self) -> &str { &self.0 }
/// }
/// ```
#[proc_macro_derive(Id)]
pub fn id(input: TokenStream) -> TokenStream {
    run(input, id::derive)
}

/// A closed vocabulary without data: the same `SCREAMING_SNAKE` word in JSON and in SQL.
///
/// ```text
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
/// #[scalar(ordered)]                    // compares by rank; then do not derive PartialOrd and Ord
/// pub enum Risk { Low, High, #[scalar(name = "MOST_HIGH")] Extreme }
/// ```
///
/// Equal to this by hand, with `Display`, `Serialize`, `Deserialize` and `JsonSchema` of the same words:
///
/// ```text
/// impl Scalar for Risk {
///     const NAMES: &'static [&'static str] = &["LOW", "HIGH", "MOST_HIGH"];
///     fn name(self) -> &'static str { match self { Self::Low => "LOW", .. } }
///     fn from_name(name: &str) -> Option<Self> { match name { "LOW" => Some(Self::Low), .. } }
/// }
///
/// impl Portable for Risk {
///     const TYPE: ValueType = ValueType::Text;
///     const CHOICES: &'static [&'static str] = Self::NAMES;
///     const RANKED: bool = true;
///     fn to_value(&self) -> Value { Value::Text(self.name().to_owned()) }
///     fn from_value(value: &Value) -> Result<Self, DecodeError> { .. }
/// }
/// ```
#[proc_macro_derive(Scalar, attributes(scalar))]
pub fn scalar(input: TokenStream) -> TokenStream {
    run(input, scalar::derive)
}

/// JSON with camelCase properties, for what stands inside events, commands, rows and states.
///
/// ```text
/// #[derive(Clone, Debug, PartialEq, Data)]
/// pub struct Line { pub product_id: ProductId, pub quantity: i64, pub note: Option<String> }
///
/// #[derive(Clone, Debug, PartialEq, Data)]
/// #[data(tag = "status")]               // `type` unless said otherwise
/// pub enum Payment { Open, Captured { captured_at: Timestamp } }
/// ```
///
/// Equal to this by hand:
///
/// ```text
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// #[serde(rename_all = "camelCase")]
/// pub struct Line { .., #[serde(skip_serializing_if = "Option::is_none")] pub note: Option<String> }
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// #[serde(tag = "status", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
/// pub enum Payment { Open, Captured { captured_at: Timestamp } }
/// ```
///
/// `#[data(default)]` on a field takes its type's default where the property is absent. Unknown properties
/// are tolerated; inside a command they are refused by name, but for those that stand before the tag of an
/// enum, whose variant is not known yet.
#[proc_macro_derive(Data, attributes(data))]
pub fn data(input: TokenStream) -> TokenStream {
    run(input, data::derive)
}

/// A read model: one declaration of a row, its key, filters, sorts, indexes and promises.
///
/// ```text
/// /// One order as its customer sees it.
/// #[derive(Clone, Debug, PartialEq, ReadModel)]
/// #[read_model(name = "order_summary", revision = 1, owner = "sales", contract = "bounded 5s")]
/// #[index(customer, placed_at desc)]
/// #[computed(days_open: i64 = Self::days_open)]          // fn days_open(&self, now: Timestamp) -> i64
/// pub struct OrderSummary {
///     #[key] pub order: OrderId,
///     #[filter] #[sensitivity(personal)] pub customer: CustomerId,
///     #[filter] pub status: Status,
///     pub total: Money,
///     #[sort] pub placed_at: Timestamp,
///     #[json] pub lines: Vec<Line>,
/// }
/// ```
///
/// On the struct, `read_model` takes `name`, `revision`, `owner`; `path = "orders-at-a-glance"` for another
/// address than the name with `-` for `_`; `reads(CustomerName)` for the read models of its group that its
/// projection looks rows up in; `inline` or `on_demand` (a worker folds
/// where neither is said); `partitions = 4` (1 to 64) for rows that several processes fold together, where
/// neither `inline` nor `reads` is said; `contract` of `"strong"`, `"eventual"` (unless said otherwise),
/// `"bounded 5s"` or `"bounded 500ms refuse"`; `tenants = all`; `default_sort = "placed_at desc"`; and for
/// governance `purpose`, `journey`, `freshness_target`, `correctness_target`, `latency_target`,
/// `signed_off_by`, `signed_off_on`, `sign_off_cadence`, `runbook`. On a field: `#[key]` (several form a
/// tuple), `#[filter]`, `#[sort]`, `#[json]` for a structured column, `#[sensitivity(public | internal |
/// personal | restricted)]`,
/// and `#[column(name = "assigned_team_id", public = "teamId")]`. Every filter gets an index unless one
/// begins with it.
///
/// Equal to this by hand:
///
/// ```text
/// impl OrderSummary {
///     pub const ORDER: Column<Self, OrderId, true, true> = Column::at(0);
///     pub const CUSTOMER: Column<Self, CustomerId, true, false> = Column::at(1);
///     ..
/// }
///
/// impl ReadModel for OrderSummary {
///     type Key = OrderId;
///     const SCHEMA: &'static Schema = &Schema { name: "order_summary", revision: 1, columns: &[..], .. };
///     fn key(&self) -> OrderId { self.order.clone() }
///     fn key_values(key: &OrderId) -> Vec<Value> { vec![key.to_value()] }
///     fn key_from_values(values: &[Value]) -> Result<OrderId, DecodeError> { .. }
///     fn to_row(&self) -> Vec<Value> { vec![self.order.to_value(), self.customer.to_value(), ..] }
///     fn into_row(self) -> Vec<Value> { vec![self.order.into_value(), self.customer.into_value(), ..] }
///     fn from_row(values: &[Value]) -> Result<Self, DecodeError> { .. }
///     fn computed(&self, now: Timestamp) -> Vec<Value> { vec![self.days_open(now).to_value()] }
///     fn json_schema(column: usize, generator: &mut SchemaGenerator) -> Option<Schema> { .. }
/// }
/// ```
///
/// The constant of a field of type `Option<T>` compares with `T`: no value never fits a condition.
#[proc_macro_derive(
    ReadModel,
    attributes(read_model, index, computed, key, filter, sort, json, full_text, sensitivity, column)
)]
pub fn read_model(input: TokenStream) -> TokenStream {
    run(input, read_model::derive)
}

/// Hands the parsed input to a derive and turns its errors into compile errors.
fn run(input: TokenStream, derive: fn(&DeriveInput) -> Result<proc_macro2::TokenStream>) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive(&input).unwrap_or_else(Error::into_compile_error).into()
}
