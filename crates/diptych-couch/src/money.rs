//! The guard that the server itself holds before money: a design document, made from the declarations, that
//! refuses what is no money in a money field, also inside of `#[json]` columns whose JSON Schema says money.
//! Says nothing of amounts that a fold makes: those are of the type already.

use diptych_core::{Currency, ValueType};
use diptych_query::{AnyModel, MoneyPlaces, money_in_columns};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of the guard's document.
const GUARD: &str = "_design/money";

/// What the server runs before it keeps a document: `tables` are the places of money by table and column,
/// `known` the currencies. Amounts are texts of at most three decimals, compared digit by digit, since the
/// largest have more digits than the server's numbers keep. A column whose numbers the server would not keep
/// stands in its row as the text that is beside the row.
const REFUSE: &str = r#"function (doc) {
  if (doc._deleted || !doc.table) { return; }
  var columns = TABLES[doc.table];
  if (!columns) { return; }
  function bad(amount) {
    if (typeof amount !== 'string') { return true; }
    var parts = /^(-?)([0-9]+)(?:\.([0-9]{1,3}))?$/.exec(amount);
    if (!parts) { return true; }
    var digits = parts[2] + ((parts[3] || '') + '000').slice(0, 3);
    digits = digits.replace(/^0+/, '');
    while (digits.length < 19) { digits = '0' + digits; }
    return digits.length > 19 || digits > LARGEST;
  }
  function is_money(value) {
    return typeof value === 'object' && Object.keys(value).length === 2 && !bad(value.amount) &&
      KNOWN.indexOf(value.currency) >= 0;
  }
  function member(place, name) {
    for (var i = 0; i < place.members.length; i++) {
      if (place.members[i][0] === name) { return place.members[i][1]; }
    }
    return place.any;
  }
  function look(place, value, field) {
    if (!place || value === null || value === undefined) { return; }
    if (place.money) {
      if (!is_money(value)) { throw({ forbidden: '`' + field + '` is not money' }); }
    } else if (Array.isArray(value)) {
      for (var i = 0; i < value.length; i++) { look(place.each, value[i], field + '[]'); }
    } else if (typeof value === 'object') {
      Object.keys(value).forEach(function (name) {
        look(member(place, name), value[name], field + '.' + name);
      });
    }
  }
  function refuse(version) {
    if (!version || !version.row) { return; }
    columns.forEach(function (column) {
      var value = version.row[column[0]];
      if (typeof value === 'string' && version.texts && version.texts[column[0]] === value) {
        try { value = JSON.parse(value); } catch (none) { return; }
      }
      look(column[1], value, column[0]);
    });
  }
  refuse(doc);
  refuse(doc.before);
}"#;

/// Places of money as the server's function reads them. Members are pairs: a name such as `__proto__` is none
/// of a literal's.
fn told(places: &MoneyPlaces) -> Json {
    let members: Vec<_> = places.members.iter().map(|(name, inner)| json!([name, told(inner)])).collect();
    let inner = |places: &Option<Box<MoneyPlaces>>| places.as_deref().map(told);
    json!({
        "money": places.money, "members": members, "each": inner(&places.each), "any": inner(&places.any),
    })
}

/// The design document that guards the money in tables; none where they have no such field.
pub(crate) fn guard(models: &[Arc<dyn AnyModel>]) -> Option<Json> {
    let mut tables = Map::new();
    for model in models {
        let columns = model.schema().columns;
        let mut places = BTreeMap::<usize, MoneyPlaces>::new();
        for (column, _) in columns.iter().enumerate().filter(|(_, spec)| spec.value_type == ValueType::Money)
        {
            places.entry(column).or_default().money = true;
        }
        for (column, path) in money_in_columns(&**model) {
            places.entry(column).or_default().add(&path);
        }
        if !places.is_empty() {
            let of_column =
                |(column, places): (&usize, &MoneyPlaces)| json!([columns[*column].public, told(places)]);
            tables.insert(model.schema().name.to_owned(), places.iter().map(of_column).collect());
        }
    }
    if tables.is_empty() {
        return None;
    }
    let known: Vec<_> = Currency::all().map(|currency| currency.as_str().to_owned()).collect();
    let function = REFUSE
        .replace("KNOWN", &json!(known).to_string())
        .replace("LARGEST", &format!("'{:019}'", diptych_core::Money::THOUSANDTHS_MAX))
        // The last, since it holds names.
        .replace("TABLES", &Json::Object(tables).to_string());
    Some(json!({ "_id": GUARD, "language": "javascript", "validate_doc_update": function }))
}
