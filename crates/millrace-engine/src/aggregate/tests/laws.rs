//! However rows are cut into panes, sessions and snapshots, the result is that of one pass.

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use proptest::prelude::*;

use super::sample::{Case, GROUPS, Row, cases, columns, rows};
use crate::aggregate::GroupState;

const ALL: [u32; GROUPS as usize] = [0, 1, 2];

fn update(state: &mut dyn GroupState, case: &Case, rows: &[Row], group: impl Fn(&Row) -> u32) {
    let groups: Vec<u32> = rows.iter().map(group).collect();
    let numbers: Vec<u32> = (0..rows.len() as u32).collect();
    state.update(&columns(&case.types, rows), &numbers, &groups).expect("no overflow in a small sample");
}

fn one_pass(case: &Case, rows: &[Row]) -> Box<dyn GroupState> {
    let mut state = case.state(GROUPS);
    update(state.as_mut(), case, rows, |row| row.group);
    state
}

/// Equal, or for doubles that were added up in another order, nearly so.
fn same(left: &ArrayRef, right: &ArrayRef) -> bool {
    if left.data_type() != &DataType::Float64 {
        return left == right;
    }
    let (left, right) = (left.as_primitive::<Float64Type>(), right.as_primitive::<Float64Type>());
    left.len() == right.len()
        && left.iter().zip(right).all(|pair| match pair {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9 || (a.is_nan() && b.is_nan()),
            (None, None) => true,
            _ => false,
        })
}

/// Panes merged into a window, each pane through a snapshot on the way.
fn by_panes(case: &Case, panes: &[&[Row]]) -> Box<dyn GroupState> {
    let mut window = case.state(GROUPS);
    for pane in panes {
        let mut state = one_pass(case, pane);
        let at_once = state.save(&[2, 0, 1]).expect("a state can be saved");
        let behind = state.save_behind(&[2, 0, 1]).expect("a state can be saved");
        // What comes after is not in it, though the columns are only made then.
        update(state.as_mut(), case, pane, |row| row.group);
        state.clear(0);
        let saved = behind.columns().expect("made");
        assert_eq!(saved, at_once, "{case:?}");
        let types: Vec<DataType> = saved.iter().map(|column| column.data_type().clone()).collect();
        assert_eq!(types, state.saved_types(), "{case:?}");
        let mut loaded = case.state(GROUPS + 1);
        update(loaded.as_mut(), case, &panes[0][..panes[0].len() / 2], |_| 3);
        loaded.load(&[1, 3, 2], &saved).expect("its own columns");
        window.merge(loaded.as_ref(), &[3, 2, 1], &[0, 1, 2]).expect("no overflow in a small sample");
    }
    window
}

/// Sessions that grow together within one state, in order of arrival.
fn by_sessions(case: &Case, sessions: &[&[Row]]) -> Box<dyn GroupState> {
    let mut state = case.state(GROUPS * (1 + sessions.len() as u32));
    for (i, session) in sessions.iter().enumerate() {
        update(state.as_mut(), case, session, |row| row.group + GROUPS * (1 + i as u32));
    }
    for i in 1..=sessions.len() as u32 {
        for group in ALL {
            state.merge_within(group + GROUPS * i, group).expect("no overflow in a small sample");
        }
    }
    let emptied: Vec<u32> = (GROUPS..GROUPS * (1 + sessions.len() as u32)).collect();
    let never_used = case.state(emptied.len() as u32);
    let numbers: Vec<u32> = (0..emptied.len() as u32).collect();
    assert_eq!(
        &state.evaluate(&emptied).unwrap(),
        &never_used.evaluate(&numbers).unwrap(),
        "{case:?}: emptied by a merge"
    );
    state
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn cutting_rows_does_not_change_results(rows in rows(), cut in 0.0..1.0_f64, second in 0.0..1.0_f64) {
        let first = (rows.len() as f64 * cut) as usize;
        let second = first + ((rows.len() - first) as f64 * second) as usize;
        let parts = [&rows[..first], &rows[first..second], &rows[second..]];
        for case in cases() {
            let whole = one_pass(&case, &rows);
            let expected = whole.evaluate(&ALL).unwrap();
            prop_assert_eq!(&whole.evaluate(&ALL).unwrap(), &expected, "{:?}: evaluated twice", case);
            let panes = by_panes(&case, &parts).evaluate(&ALL).unwrap();
            prop_assert!(same(&panes, &expected), "{case:?}: panes {panes:?}, expected {expected:?}");
            let sessions = by_sessions(&case, &parts).evaluate(&ALL).unwrap();
            prop_assert!(same(&sessions, &expected), "{case:?}: sessions {sessions:?}, expected {expected:?}");
        }
    }

    #[test]
    fn a_cleared_group_is_a_new_one(rows in rows()) {
        for case in cases() {
            let mut state = one_pass(&case, &rows);
            let expected = state.evaluate(&ALL).unwrap();
            ALL.iter().for_each(|&group| state.clear(group));
            prop_assert_eq!(&state.evaluate(&ALL).unwrap(), &case.state(GROUPS).evaluate(&ALL).unwrap(), "{:?}", case);
            update(state.as_mut(), &case, &rows, |row| row.group);
            prop_assert!(same(&state.evaluate(&ALL).unwrap(), &expected), "{:?}: used again", case);
        }
    }

    #[test]
    fn only_the_rows_asked_for_count(rows in rows(), keep in prop::collection::vec(any::<bool>(), 60)) {
        let picked: Vec<Row> = rows.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(row, _)| row.clone()).collect();
        for case in cases() {
            let mut state = case.state(GROUPS);
            let numbers: Vec<u32> = (0..rows.len() as u32).filter(|&i| keep[i as usize]).collect();
            let groups: Vec<u32> = numbers.iter().map(|&i| rows[i as usize].group).collect();
            state.update(&columns(&case.types, &rows), &numbers, &groups).unwrap();
            let expected = one_pass(&case, &picked).evaluate(&ALL).unwrap();
            prop_assert!(same(&state.evaluate(&ALL).unwrap(), &expected), "{:?}", case);
        }
    }
}

#[test]
fn memory_is_given_back() {
    let row = |i: u32| Row { group: i % GROUPS, arguments: [Some((i % 12) as u8), Some((i % 7) as u8)] };
    let rows: Vec<Row> = (0..5_000).map(row).collect();
    for case in cases() {
        let mut state = one_pass(&case, &rows);
        let full = state.bytes();
        assert!(full > 0, "{case:?}");
        ALL.iter().for_each(|&group| state.clear(group));
        let kept = state.bytes();
        assert!(kept <= full && kept < 4_096, "{case:?}: {full} bytes, {kept} after clearing");
    }
}

#[test]
fn a_foreign_snapshot_is_refused() {
    for case in cases() {
        let state = case.state(1);
        let mut saved = state.save(&[0]).unwrap();
        saved[0] = arrow_array::new_null_array(&DataType::Date64, 1);
        let error = case.state(1).load(&[0], &saved).expect_err("a column of another type").to_string();
        assert!(error.contains("saved aggregate state does not fit this statement"), "{case:?}: {error}");
    }
}
