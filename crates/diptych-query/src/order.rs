//! Rows in the order of their table, in which a store writes and reads them.

use crate::RowRef;
use diptych_core::Value;

/// Sorts by row, in table order. Most rows are told apart by the beginning of their key, which is laid beside
/// them: following it to where it lies would cost more than all the rest.
#[must_use]
pub fn sort_in_table_order<T>(rows: Vec<T>, row_of: impl Fn(&T) -> &RowRef) -> Vec<T> {
    let tenant = rows.first().map(|first| row_of(first).tenant.clone());
    let one_tenant = rows.iter().all(|row| Some(&row_of(row).tenant) == tenant.as_ref());
    let begin = |row: &RowRef| row.key.first().filter(|_| one_tenant).map_or(0, beginning_of);
    let mut begun: Vec<(u128, T)> = rows.into_iter().map(|row| (begin(row_of(&row)), row)).collect();
    begun
        .sort_unstable_by(|(a, row), (b, other)| a.cmp(b).then_with(|| row_of(row).table_cmp(row_of(other))));
    begun.into_iter().map(|(_, row)| row).collect()
}

/// What most rows of a table are told apart by: the place of their tenant among all, and a number that never
/// orders two keys other than they order. Rows may share it.
pub(crate) type Beginning = (usize, u128);

/// Sorts what stands for rows, in table order. Only rows that share their beginning are named in whole.
pub(crate) fn sort_by_beginning<T: Copy>(
    mut begun: Vec<(Beginning, T)>,
    row_of: impl Fn(T) -> RowRef,
) -> Vec<T> {
    begun.sort_unstable_by_key(|(beginning, _)| *beginning);
    let mut sorted = Vec::with_capacity(begun.len());
    for alike in begun.chunk_by(|(a, _), (b, _)| a == b) {
        if let [(_, only)] = alike {
            sorted.push(*only);
            continue;
        }
        let mut named: Vec<_> = alike.iter().map(|(_, item)| (row_of(*item), *item)).collect();
        named.sort_unstable_by(|(a, _), (b, _)| a.table_cmp(b));
        sorted.extend(named.into_iter().map(|(_, item)| item));
    }
    sorted
}

/// A number that never orders two values of a column other than they order; they may share it.
pub(crate) fn beginning_of(value: &Value) -> u128 {
    match value {
        Value::Text(text) => {
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(text.as_bytes()).for_each(|(byte, of_text)| *byte = *of_text);
            u128::from_be_bytes(bytes)
        }
        Value::Integer(number) => u128::from(number.cast_unsigned() ^ 1 << 63),
        Value::Null => u128::MAX,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych_core::Tenant;

    #[track_caller]
    fn check(tenants: &[&str], keys: &[Value]) {
        let of = |tenant: &&str, key: &Value| RowRef {
            tenant: Tenant::new(tenant).unwrap(),
            key: vec![key.clone(), Value::Integer(7)],
        };
        let pairs = keys.iter().flat_map(|key| tenants.iter().map(move |tenant| (tenant, key)));
        let rows: Vec<_> = pairs.map(|(tenant, key)| of(tenant, key)).collect();
        let mut expected = rows.clone();
        expected.sort_by(RowRef::table_cmp);
        let place = |row: &RowRef| tenants.iter().filter(|tenant| **tenant < row.tenant.as_str()).count();
        let begun = rows.iter().enumerate().map(|(at, row)| ((place(row), beginning_of(&row.key[0])), at));
        let sorted = sort_by_beginning(begun.collect(), |at| rows[at].clone());
        let sorted: Vec<_> = sorted.into_iter().map(|at| rows[at].clone()).collect();
        assert_eq!(sorted, expected);
        assert_eq!(sort_in_table_order(rows, |row| row), expected);
    }

    #[test]
    fn what_lies_beside_a_row_never_changes_its_place() {
        let texts = ["b", "", "a-key-longer-than-sixteen-2", "a-key-longer-than-sixteen-1", "ä", "a", "z"];
        let texts: Vec<_> = texts.iter().map(|text| Value::Text((*text).to_owned())).collect();
        let numbers: Vec<_> = [5, -1, i64::MIN, 0, i64::MAX].map(Value::Integer).to_vec();
        let others = [Value::Null, Value::Bool(true), Value::Bool(false), Value::Bytes(vec![255; 20])];
        for tenants in [&["main"][..], &["main", "another"]] {
            check(tenants, &texts);
            check(tenants, &numbers);
            check(tenants, &others[..3]);
            check(tenants, &[others[0].clone(), others[3].clone(), Value::Bytes(vec![1])]);
        }
    }
}
