//! What a bridgefwd that runs, or has left pins, does with packets before any rule is asked.

use std::collections::BTreeMap;

use super::report::{Report, WalkDoc};

/// What bridgefwd does with packets between ends.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Running {
    /// The listed pairs, by the names of their interfaces: allowed or denied.
    pub pairs: BTreeMap<(String, String), bool>,
    /// The managed interfaces.
    pub managed: Vec<String>,
    /// Is what is in no pair dropped?
    pub unlisted_denied: bool,
}

impl Running {
    /// What it does between two interfaces, if it does not leave that to the kernel.
    fn does(&self, from: &str, to: &str) -> Option<(bool, &'static str)> {
        let manages = |name| self.managed.iter().any(|managed| managed == name);
        if from == to || !manages(from) || !manages(to) {
            return None;
        }
        match self.pairs.get(&(from.to_owned(), to.to_owned())) {
            Some(true) => Some((true, "allows this pair before any of these rules")),
            Some(false) => Some((false, "denies this pair before any of these rules")),
            None if self.unlisted_denied => {
                Some((false, "drops what is in no pair before any of these rules"))
            }
            None => None,
        }
    }

    /// Adds it to a matrix.
    pub fn add(&self, report: &mut Report) {
        let interfaces: BTreeMap<&str, &str> = report
            .ends
            .iter()
            .filter_map(|end| Some((end.name.as_str(), end.interface.as_deref()?)))
            .collect();
        for cell in &mut report.cells {
            let interface = |name: &str| interfaces.get(name).copied();
            let (Some(from), Some(to)) = (interface(&cell.from), interface(&cell.to)) else {
                continue;
            };
            if let Some((allows, does)) = self.does(from, to) {
                cell.answer = if allows { "yes" } else { "no" }.into();
                cell.bridgefwd = Some(does.into());
            }
        }
    }

    /// Adds it to a walk between two interfaces.
    pub fn add_to_walk(&self, walk: &mut WalkDoc, from: Option<&str>, to: Option<&str>) {
        let does = from.zip(to).and_then(|(from, to)| self.does(from, to));
        if let Some((allows, does)) = does {
            walk.answer = if allows { "yes" } else { "no" }.into();
            walk.bridgefwd = Some(does.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::report::{CellDoc, EndDoc};

    #[test]
    fn listed_pairs_come_before_rules() {
        let end = |name: &str, interface: Option<&str>| EndDoc {
            name: name.into(),
            interface: interface.map(Into::into),
            subnet: None,
        };
        let cell = |from: &str, to: &str| CellDoc {
            from: from.into(),
            to: to.into(),
            answer: "some".into(),
            ..CellDoc::default()
        };
        let mut report = Report {
            ends: vec![end("shop", Some("br-a")), end("db", Some("br-b")), end("host", None)],
            cells: vec![
                cell("shop", "db"),
                cell("db", "shop"),
                cell("shop", "shop"),
                cell("shop", "host"),
            ],
            ..Report::default()
        };
        let mut running = Running {
            pairs: BTreeMap::from([(("br-a".into(), "br-b".into()), true)]),
            managed: vec!["br-a".into(), "br-b".into()],
            unlisted_denied: false,
        };
        running.add(&mut report);
        let answers: Vec<&str> = report.cells.iter().map(|cell| &*cell.answer).collect();
        assert_eq!(answers, ["yes", "some", "some", "some"]);
        running.unlisted_denied = true;
        running.add(&mut report);
        let answers: Vec<&str> = report.cells.iter().map(|cell| &*cell.answer).collect();
        assert_eq!(answers, ["yes", "no", "some", "some"]);
    }
}
