//! Who can reach whom: one request from each bridge to each other.

use std::io;
use std::time::Duration;

use comfy_table::{Table, presets};
use tokio::task::JoinSet;

use super::probe::{self, Seen};
use super::topology::{self, BRIDGES, LabBridge};
use crate::failure::{Failure, Result};

/// What came of each request.
#[derive(Debug)]
pub struct Matrix(Vec<(&'static LabBridge, &'static LabBridge, io::Result<Seen>)>);

impl Matrix {
    /// Asks, all at once; whoever does not answer within `patience` is not reached.
    ///
    /// # Errors
    /// A request could not even be tried.
    pub async fn ask(patience: Duration) -> Result<Self> {
        let mut requests = JoinSet::new();
        for (from, to) in topology::directions() {
            let (Some(client), Some(server)) = (from.first_host(), to.first_host()) else {
                continue;
            };
            requests.spawn_blocking(move || (from, to, probe::http(client, server, patience)));
        }
        let mut answers = Vec::new();
        while let Some(answer) = requests.join_next().await {
            answers.push(answer.map_err(|error| {
                Failure::failed(format!("a request between hosts of the lab failed: {error}"))
            })?);
        }
        Ok(Self(answers))
    }

    /// How many were answered.
    #[must_use]
    pub fn reached(&self) -> usize {
        self.0.iter().filter(|(_, _, answer)| answer.is_ok()).count()
    }

    /// How many there were.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.0.len()
    }

    /// Did every server see the very address that the client has?
    #[must_use]
    pub fn untranslated(&self) -> bool {
        let answers = self.0.iter().filter_map(|(_, _, answer)| answer.as_ref().ok());
        answers.into_iter().all(|seen| seen.own == seen.seen.into())
    }

    /// Did all that were not reached simply get no answer?
    #[must_use]
    pub fn silent(&self) -> bool {
        let errors = self.0.iter().filter_map(|(_, _, answer)| answer.as_ref().err());
        errors.into_iter().all(probe::is_silence)
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.force_no_tty().load_style(presets::NOTHING);
        table.set_header(std::iter::once("from \\ to").chain(BRIDGES.iter().map(|to| to.name)));
        for from in BRIDGES {
            let cells = BRIDGES.iter().map(|to| self.cell(from, to));
            table.add_row(std::iter::once(from.name).chain(cells));
        }
        table.trim_fmt()
    }

    fn cell(&self, from: &LabBridge, to: &LabBridge) -> &'static str {
        let answer = self.0.iter().find(|(f, t, _)| *f == from && *t == to);
        match answer {
            None => ".",
            Some((_, _, Ok(_))) => "yes",
            Some((_, _, Err(_))) => "no",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;
    use crate::lab::topology::{SHOP_DB, SHOP_FRONT};

    #[test]
    fn the_table_has_a_row_for_each_bridge() {
        let own = SocketAddrV4::new([172, 18, 0, 2].into(), 40_000);
        let seen = SocketAddrV4::new([172, 19, 0, 1].into(), 40_000);
        let [front, db, _] = BRIDGES;
        assert_eq!((front, db), (&SHOP_FRONT, &SHOP_DB));
        let matrix = Matrix(vec![
            (front, db, Ok(Seen { own: own.into(), seen })),
            (db, front, Err(io::ErrorKind::TimedOut.into())),
        ]);
        let table = matrix.table();
        let rows: Vec<Vec<_>> =
            table.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
        assert_eq!(rows[1], ["shop_front", ".", "yes", "."]);
        assert_eq!(rows[2], ["shop_db", "no", ".", "."]);
        assert_eq!((matrix.reached(), matrix.asked()), (1, 2));
        assert!(!matrix.untranslated());
        assert!(matrix.silent());
    }
}
