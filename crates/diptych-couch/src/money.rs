//! The guard that the server itself holds before money fields: a design document, made from the
//! declarations, that refuses what is no money. Says nothing of amounts that a fold makes: those are of the
//! type already.

use diptych_core::{Currency, ValueType};
use diptych_query::Schema;
use serde_json::{Value as Json, json};

/// The name of the guard's document.
const GUARD: &str = "_design/money";

/// What the server runs before it keeps a document: `fields` are the money fields by table, `known` the
/// currencies. Amounts are texts of at most three decimals, compared
/// digit by digit, since the largest have more digits than the server's numbers keep.
const REFUSE: &str = r#"function (doc) {
  if (doc._deleted || !doc.table) { return; }
  var fields = FIELDS[doc.table];
  if (!fields) { return; }
  function bad(amount) {
    if (typeof amount !== 'string') { return true; }
    var parts = /^(-?)([0-9]+)(?:\.([0-9]{1,3}))?$/.exec(amount);
    if (!parts) { return true; }
    var digits = parts[2] + ((parts[3] || '') + '000').slice(0, 3);
    digits = digits.replace(/^0+/, '');
    while (digits.length < 19) { digits = '0' + digits; }
    return digits.length > 19 || digits > LARGEST;
  }
  function refuse(row) {
    if (!row) { return; }
    for (var i = 0; i < fields.length; i++) {
      var money = row[fields[i]];
      if (money === null || money === undefined) { continue; }
      if (typeof money !== 'object' || Object.keys(money).length !== 2 || bad(money.amount) ||
          KNOWN.indexOf(money.currency) < 0) {
        throw({ forbidden: '`' + fields[i] + '` is not money' });
      }
    }
  }
  refuse(doc.row);
  if (doc.before) { refuse(doc.before.row); }
}"#;

/// The design document that guards the money fields of tables; none where they have no such field.
pub(crate) fn guard(tables: &[&'static Schema]) -> Option<Json> {
    let mut fields = serde_json::Map::new();
    for schema in tables {
        let money = schema.columns.iter().filter(|column| column.value_type == ValueType::Money);
        let money: Vec<_> = money.map(|column| column.public).collect();
        if !money.is_empty() {
            fields.insert(schema.name.to_owned(), money.into());
        }
    }
    if fields.is_empty() {
        return None;
    }
    let known: Vec<_> = Currency::all().map(|currency| currency.as_str().to_owned()).collect();
    let function = REFUSE
        .replace("FIELDS", &Json::Object(fields).to_string())
        .replace("KNOWN", &json!(known).to_string())
        .replace("LARGEST", &format!("'{:019}'", diptych_core::Money::THOUSANDTHS_MAX));
    Some(json!({ "_id": GUARD, "language": "javascript", "validate_doc_update": function }))
}
