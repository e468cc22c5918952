//! Ids, vocabularies, data, events, commands and rejections: golden bytes, round trips, refusals.

use super::*;

/// The stored bytes of a value, which must come back as the same value.
#[track_caller]
fn golden<T>(value: &T, bytes: &str)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    assert_eq!(serde_json::to_string(value).expect("writes"), bytes);
    assert_eq!(&serde_json::from_str::<T>(bytes).expect("reads"), value);
}

#[test]
fn an_id_is_its_text_and_never_empty() {
    golden(&OrderId::new("42"), r#""42""#);
    assert_eq!(OrderId::from("42"), OrderId::from(String::from("42")));
    assert_eq!(format!("{:>4}|{:?}", OrderId::new("42"), OrderId::new("42")), r#"  42|OrderId("42")"#);
    assert!(OrderId::new("42") < OrderId::new("5"));
    assert_eq!(OrderId::from_key("42").as_ref(), OrderId::new("42").as_str());
    for bad in ["", "a\0b", &"x".repeat(201)] {
        assert!(serde_json::to_string(&OrderId::new(bad)).is_err(), "{bad:?} was stored");
        let json = serde_json::to_string(bad).unwrap();
        assert!(serde_json::from_str::<OrderId>(&json).is_err(), "{bad:?} was accepted");
    }
    assert_eq!(OrderId::new("42").to_value(), Value::Text("42".into()));
    assert_eq!(OrderId::from_value(&Value::Text("42".into())).unwrap(), OrderId::new("42"));
    assert!(OrderId::from_value(&Value::Null).unwrap_err().to_string().contains("`OrderId`"));
    let schema = serde_json::to_value(schemars::schema_for!(OrderId)).unwrap();
    assert_eq!(schema["maxLength"], 200);
    assert_eq!(schema["description"], "Identifies an order.");
}

#[test]
fn a_scalar_is_one_word_everywhere() {
    golden(&Status::PaymentAuthorized, r#""PAYMENT_AUTHORIZED""#);
    assert_eq!(Status::NAMES, ["PLACED", "PAYMENT_AUTHORIZED", "CANCELLED"]);
    assert_eq!(Status::CHOICES, Status::NAMES);
    assert_eq!(Status::from_name("CANCELLED"), Some(Status::Cancelled));
    assert_eq!(Status::Cancelled.to_string(), "CANCELLED");
    assert_eq!(Status::Placed.to_value(), Value::Text("PLACED".into()));
    assert_eq!(Status::from_value(&Value::Text("PLACED".into())), Ok(Status::Placed));
    assert!(Status::from_value(&Value::Text("placed".into())).is_err());
    assert_eq!((Status::RANKED, Status::NULLABLE), (false, false));
    let error = serde_json::from_str::<Status>(r#""SOLD""#).unwrap_err().to_string();
    assert!(error.contains("SOLD") && error.contains("PLACED, PAYMENT_AUTHORIZED, CANCELLED"), "{error}");
    let schema = serde_json::to_value(schemars::schema_for!(Status)).unwrap();
    assert_eq!(schema["enum"], serde_json::json!(["PLACED", "PAYMENT_AUTHORIZED", "CANCELLED"]));
}

#[test]
fn an_ordered_scalar_compares_by_rank_not_by_text() {
    assert!(Risk::Low < Risk::Medium && Risk::Medium < Risk::High && Risk::High < Risk::Extreme);
    assert_eq!((Risk::RANKED, <Option<Risk>>::RANKED), (true, true));
    golden(&Risk::Extreme, r#""OFF_THE_CHART""#);
}

#[test]
fn data_is_camel_case_and_leaves_out_what_is_not_there() {
    let price = r#"{"amount":"19.99","currency":"GBP"}"#;
    golden(&line(), &format!(r#"{{"productId":"P1","quantity":2,"unitPrice":{price},"tags":[]}}"#));
    let bare = Line { unit_price: None, ..line() };
    golden(&bare, r#"{"productId":"P1","quantity":2,"tags":[]}"#);
    let read = |json: &str| serde_json::from_str::<Line>(json);
    assert_eq!(read(r#"{"productId":"P1","quantity":2,"colour":"red"}"#).unwrap(), bare);
    assert_eq!(read(r#"{"productId":"P1","quantity":2,"unitPrice":null}"#).unwrap(), bare);
    assert!(read(r#"{"productId":"P1"}"#).unwrap_err().to_string().contains("`quantity`"));
    assert!(read(r#"["P1",2,null,[]]"#).unwrap_err().to_string().contains("expected an object"));
    let schema = serde_json::to_value(schemars::schema_for!(Line)).unwrap();
    assert_eq!(schema["title"], "Line");
    assert_eq!(schema["properties"]["productId"]["description"], "Which product.");
    assert_eq!(schema["required"], serde_json::json!(["productId", "quantity"]));
}

#[test]
fn an_enum_with_data_names_its_variant_in_a_property() {
    let charged = Payment::CardCharged { charged_at: Timestamp::EPOCH, card: None };
    golden(&Payment::Open, r#"{"type":"OPEN"}"#);
    golden(&charged, r#"{"type":"CARD_CHARGED","chargedAt":"1970-01-01T00:00:00Z"}"#);
    golden(&Payment::Split { parts: vec![Payment::Open] }, r#"{"type":"SPLIT","parts":[{"type":"OPEN"}]}"#);
    golden(&Order::Placed { lines: Vec::new() }, r#"{"status":"PLACED","lines":[]}"#);
    golden(&Order::New, r#"{"status":"NEW"}"#);
    let read = |json: &str| serde_json::from_str::<Payment>(json);
    let late = r#"{"chargedAt":"1970-01-01T00:00:00Z","other":[1],"type":"CARD_CHARGED","card":null}"#;
    assert_eq!(read(late).unwrap(), charged);
    assert_eq!(read(r#"{"more":1,"type":"OPEN","extra":{}}"#).unwrap(), Payment::Open);
    assert!(read(r#"{"chargedAt":"x"}"#).unwrap_err().to_string().contains("`type`"));
    assert!(read(r#"{"type":"CASH"}"#).unwrap_err().to_string().contains("`CASH`"));
    assert!(read(r#"{"type":"CARD_CHARGED"}"#).unwrap_err().to_string().contains("`chargedAt`"));
    assert!(read("7").unwrap_err().to_string().contains("property `type`"));
    let schema = serde_json::to_value(schemars::schema_for!(Payment)).unwrap();
    assert_eq!(schema["oneOf"][1]["properties"]["type"]["const"], "CARD_CHARGED");
}

/// The stored form of an event, which must come back as the same event.
#[track_caller]
fn stored(event: &OrderEvent, name: &str, schema_version: u32, payload: &str) {
    let new = NewEvent::from_event(event).expect("writes");
    assert_eq!(new, NewEvent::new(new.name, schema_version, payload.to_owned()));
    assert_eq!(new.name, name);
    assert_eq!(OrderEvent::decode(name, schema_version, payload).expect("reads").as_ref(), Some(event));
}

#[test]
fn events_are_stored_under_fixed_names_and_bytes() {
    let placed = |placed_by| OrderEvent::Placed { customer: "ann".into(), lines: vec![line()], placed_by };
    let lines =
        r#"[{"productId":"P1","quantity":2,"unitPrice":{"amount":"19.99","currency":"GBP"},"tags":[]}]"#;
    stored(&placed(None), "Placed", 3, &format!(r#"{{"customer":"ann","lines":{lines}}}"#));
    let by = format!(r#"{{"customer":"ann","lines":{lines},"placedBy":"bob"}}"#);
    stored(&placed(Some("bob".into())), "Placed", 3, &by);
    stored(&OrderEvent::Confirmed, "OrderConfirmed", 1, "{}");
    let cancelled = OrderEvent::Cancelled { reason: "late".into(), r#type: 7 };
    stored(&cancelled, "Cancelled", 1, r#"{"reason":"late","type":7}"#);
}

#[test]
fn a_language_that_ignores_says_so_and_passes_over_types_alone() {
    let decode = |name, version, payload| CancelledOnly::decode(name, version, payload);
    assert_eq!(decode("Placed", 3, "not even JSON"), Ok(None));
    let cancelled = CancelledOnly::Cancelled { reason: "late".into() };
    assert_eq!(decode("Cancelled", 1, r#"{"reason":"late","type":7}"#), Ok(Some(cancelled.clone())));
    assert_eq!(decode("Cancelled", 2, "{}"), Err(DecodeError::unknown_version("Cancelled", 2)));
    assert!(decode("Cancelled", 1, "{}").is_err(), "what does not fit is no unknown type");
    let ignored = |category, name| <SomeEvents as EventSet>::ignores(category, name);
    assert!(ignored("order", "Placed") && ignored("shelf", "Emptied"));
    assert!(!ignored("order", "Cancelled") && !ignored("order", "OrderNoted"), "known and retired types");
    assert!(!ignored("shelf", "Filled") && !ignored("box", "Placed"), "known types and other categories");
    assert!(!<OrderEvent as EventSet>::ignores("order", "OrderSold"), "unless it is said, nothing is");
    let set = |category, name| SomeEvents::decode_in(category, name, 1, r#"{"reason":"late"}"#);
    assert_eq!(set("order", "Cancelled"), Ok(Some(SomeEvents::Order(cancelled))));
    assert_eq!(set("order", "Placed"), Ok(None));
    assert_eq!(set("shelf", "Emptied"), Ok(None));
    assert_eq!(set("shelf", "Filled"), Ok(Some(SomeEvents::Shelf(ShelfEvent::Filled))));
    assert_eq!(set("box", "Filled"), Err(DecodeError::foreign("box")));
    assert_eq!(ShelfEvent::decode("Emptied", 1, "{}"), Err(DecodeError::unknown_type("Emptied")));
    let unknown: Vec<_> = SomeEvents::LANGUAGES.iter().map(|language| language.unknown.as_str()).collect();
    assert_eq!((unknown, ShelfEvent::LANGUAGE.unknown.as_str()), (vec!["ignore", "ignore"], "refuse"));
    assert_eq!(OrderEvent::RETIRED, ["OrderNoted", "OrderSeen"]);
}

#[test]
fn an_event_language_says_what_it_holds() {
    assert_eq!((OrderEvent::CATEGORY, OrderEvent::OWNER), ("order", "sales"));
    let placed = EventType { name: "Placed", version: 3, meaning: "The customer committed to buy." };
    assert_eq!(OrderEvent::TYPES[0], placed);
    let names: Vec<_> = OrderEvent::TYPES.iter().map(|kind| (kind.name, kind.version)).collect();
    assert_eq!(names, [("Placed", 3), ("OrderConfirmed", 1), ("Cancelled", 1)]);
    let mut generator = schemars::SchemaGenerator::default();
    let schemas = OrderEvent::schemas(&mut generator);
    let placed = serde_json::to_value(&schemas[0]).unwrap();
    assert_eq!(placed["required"], serde_json::json!(["customer", "lines"]));
    assert_eq!(placed["properties"]["lines"]["items"]["$ref"], "#/$defs/Line");
    assert_eq!(schemas.len(), 3);
    assert!(generator.definitions().contains_key("Line"));
}

#[test]
fn earlier_versions_come_back_as_todays_events() {
    let decode = |name, version, payload| OrderEvent::decode(name, version, payload);
    let placed = |lines| OrderEvent::Placed { customer: "ann".into(), lines, placed_by: None };
    assert_eq!(decode("Placed", 1, r#"{"customer":"ann"}"#), Ok(Some(placed(Vec::new()))));
    let second = r#"{"customer":"ann","line":{"productId":"P1","quantity":2}}"#;
    let bare = Line { unit_price: None, ..line() };
    assert_eq!(decode("Placed", 2, second), Ok(Some(placed(vec![bare]))));
    assert_eq!(decode("Placed", 4, "{}"), Err(DecodeError::unknown_version("Placed", 4)));
    assert_eq!(decode("Placed", 0, "{}"), Err(DecodeError::unknown_version("Placed", 0)));
    assert_eq!(decode("OrderSold", 1, "{}"), Err(DecodeError::unknown_type("OrderSold")));
    assert_eq!(decode("Confirmed", 1, "{}"), Err(DecodeError::unknown_type("Confirmed")));
    assert_eq!(decode("OrderNoted", 1, "anything"), Ok(None));
    assert_eq!(decode("OrderSeen", 9, "{}"), Ok(None));
    assert_eq!(decode("OrderConfirmed", 1, r#"{"later":{"a":[1]}}"#), Ok(Some(OrderEvent::Confirmed)));
    let error = decode("Cancelled", 1, r#"{"reason":"late"}"#).unwrap_err().to_string();
    assert!(error.starts_with("`Cancelled` does not fit its type: missing field `type`"), "{error}");
    assert!(decode("Placed", 1, "{}").unwrap_err().to_string().contains("`customer`"));
}

#[test]
fn an_event_that_could_not_be_read_back_is_not_stored() {
    let event = OrderEvent::Placed { customer: "".into(), lines: Vec::new(), placed_by: None };
    let error = NewEvent::from_event(&event).unwrap_err().to_string();
    assert!(error.starts_with("`Placed` cannot be stored: "), "{error}");
}

#[test]
fn a_set_tells_its_languages_apart_by_category() {
    assert_eq!(Everything::CATEGORIES, ["order", "stock_2"]);
    let types: usize = Everything::LANGUAGES.iter().map(|language| language.types.len()).sum();
    assert_eq!(types, 4);
    let counted = Everything::decode_in("stock_2", "Counted", 1, r#"{"quantity":3}"#);
    assert_eq!(counted, Ok(Some(Everything::Stock(StockEvent::Counted { quantity: 3 }))));
    let confirmed = Everything::decode_in("order", "OrderConfirmed", 1, "{}");
    assert_eq!(confirmed, Ok(Some(Everything::Order(OrderEvent::Confirmed))));
    assert_eq!(Everything::decode_in("order", "OrderSeen", 1, "{}"), Ok(None));
    assert_eq!(Everything::decode_in("party", "Counted", 1, "{}"), Err(DecodeError::foreign("party")));
    assert!(Everything::decode_in("order", "Counted", 1, "{}").is_err());
}

#[test]
fn commands_have_names_segments_and_bytes() {
    let place = CommandType {
        name: "PlaceOrder",
        segment: "place-order",
        meaning: "Buy.",
        key_required: false,
        actor: None,
    };
    assert_eq!(OrderCommand::TYPES[0], place);
    let approval = OrderCommand::TYPES[2];
    assert_eq!((approval.segment, approval.key_required), ("approval-requests", true));
    let check = |command: OrderCommand, body: &str| {
        assert_eq!(command.encode().unwrap(), body);
        assert_eq!(OrderCommand::decode(command.command_type().name, body).unwrap(), command);
    };
    let lines = Vec::new();
    let place = OrderCommand::PlaceOrder { customer: "ann".into(), lines, note: None };
    check(place, r#"{"customer":"ann","lines":[]}"#);
    check(OrderCommand::Confirm, "{}");
    let request = OrderCommand::RequestApproval { payment: Payment::Open, fields: 1 };
    check(request, r#"{"payment":{"type":"OPEN"},"fields":1}"#);
    assert_eq!(OrderCommand::decode("Confirm", "").unwrap(), OrderCommand::Confirm);
    let schemas = OrderCommand::schemas(&mut schemars::SchemaGenerator::default());
    let place = serde_json::to_value(&schemas[0]).unwrap();
    assert_eq!(place["additionalProperties"], false);
    assert_eq!(place["required"], serde_json::json!(["customer", "lines"]));
    assert_eq!(schemas.len(), 3);
}

/// The fields that a body is refused for, in order.
#[track_caller]
fn refused(name: &str, body: &str, fields: &[&str]) {
    let error = OrderCommand::decode(name, body).expect_err("a bad body");
    let got: Vec<_> = error.problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(got, fields, "{error}");
}

#[test]
fn a_command_names_every_bad_field() {
    refused("PlaceOrder", "{}", &["customer", "lines"]);
    let body = r#"{"customer":"","lines":[{"productId":1}],"note":2,"colour":"red"}"#;
    refused("PlaceOrder", body, &["customer", "lines[0].productId", "note", "colour"]);
    refused("Confirm", r#"{"why":1}"#, &["why"]);
    refused("PlaceOrder", r#"{"customer":"ann","lines":[],"note":"more than twenty bytes"}"#, &["note"]);
    refused("Sell", "{}", &[""]);
    let tagged = r#"{"payment":{"type":"CARD_CHARGED","chargedAt":"soon","card":"x"},"fields":1}"#;
    refused("RequestApproval", tagged, &["payment.chargedAt"]);
    refused("RequestApproval", r#"{"payment":{"type":"OPEN","tip":1},"fields":1}"#, &["payment.tip"]);
    assert!(OrderCommand::decode("PlaceOrder", "[]").unwrap_err().malformed);
}

#[test]
fn a_rejection_is_a_sentence_and_its_data() {
    let rejection = OrderRejection::OrderAlreadyCancelled { reason: "late".into(), at: None };
    assert_eq!(rejection.to_string(), "the order is already cancelled: late");
    assert_eq!(rejection.encode().unwrap(), r#"{"reason":"late"}"#);
    let decoded = OrderRejection::decode("order_already_cancelled", r#"{"reason":"late"}"#);
    assert_eq!(decoded.unwrap(), rejection);
    let kind = rejection.rejection_type();
    assert_eq!((kind.name, kind.kind), ("order_already_cancelled", RejectionKind::Refused));
    assert_eq!(kind.meaning, "Nothing can be undone twice.");
    let missing = OrderRejection::OrderNotFound;
    assert_eq!(
        (missing.rejection_type().name, missing.rejection_type().kind),
        ("order_not_found", RejectionKind::NotFound,)
    );
    assert_eq!(OrderRejection::decode("order_not_found", "{}").unwrap(), missing);
    assert!(OrderRejection::decode("order_lost", "{}").unwrap_err().to_string().contains("`order_lost`"));
    assert_eq!(OrderRejection::schemas(&mut schemars::SchemaGenerator::default()).len(), 2);
    assert!(Never::TYPES.is_empty() && Never::decode("any", "{}").is_err());
}
