//! Where the numbers come from: the daemon, or what one has left pinned.

use crate::api::client::Client;
use crate::api::labels::Labels;
use crate::api::types::{Flow, FlowFilter, Pair, PairChange, PairState, Stats, Status};
use crate::daemon::docker::names;
use crate::datapath::offline::Reader;
use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::policy::DockerChoice;

/// All that is shown, as of one look.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How the daemon is.
    pub status: Status,
    /// The counters.
    pub stats: Stats,
    /// The listed pairs.
    pub pairs: Vec<Pair>,
    /// The live flows, [`MANY`] at most.
    pub flows: Vec<Flow>,
}

/// Flows that are looked at: as many as one answer has, and more than anybody looks through.
pub const MANY: u32 = 10_000;

fn many() -> FlowFilter {
    FlowFilter { limit: Some(MANY), ..FlowFilter::default() }
}

/// Another state for a pair.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The end that opens flows.
    pub from: String,
    /// The end that answers.
    pub to: String,
    /// What it shall be.
    pub state: PairState,
}

/// Asks the daemon, each time anew: it may go and come back.
pub struct Source {
    client: Client,
    instance: Instance,
    engine: DockerChoice,
    pins: Option<Reader>,
}

impl Source {
    /// Of that instance; where it has no daemon, with the names that `engine` knows. Asks nothing yet.
    #[must_use]
    pub fn new(instance: &Instance, engine: DockerChoice) -> Self {
        let client = Client::new(&instance.socket);
        Self { client, instance: instance.clone(), engine, pins: None }
    }

    /// Looks once.
    ///
    /// # Errors
    ///
    /// Where neither a daemon answers nor anything is pinned.
    pub async fn look(&mut self) -> Result<Seen> {
        match self.ask().await {
            Err(absent @ Failure::NoDaemon(_)) => self.read(absent).await,
            answer => {
                // Another daemon may pin others.
                self.pins = None;
                answer
            }
        }
    }

    /// Changes a pair; the answer is what to say about it.
    pub async fn change(&self, change: &Change) -> String {
        let Change { from, to, state } = change;
        match self.client.put_pair(from, to, &PairChange::to(*state)).await {
            Ok(pair) => crate::views::pairs::sentence(&pair),
            Err(Failure::NoDaemon(_)) => {
                "there is no daemon to change a pair: start one with `bridgefwd run`".into()
            }
            Err(failure) => failure.to_string(),
        }
    }

    async fn ask(&self) -> Result<Seen> {
        Ok(Seen {
            status: self.client.status().await?,
            stats: self.client.stats().await?,
            pairs: self.client.pairs().await?,
            flows: self.client.flows(&many()).await?,
        })
    }

    async fn read(&mut self, absent: Failure) -> Result<Seen> {
        // Pins that were taken down and made anew are others: they are looked up each time.
        self.pins = Reader::open(&self.instance.pin_dir)?;
        let Some(pins) = &self.pins else { return Err(absent) };
        let (mut status, mut stats) = (pins.status(&self.instance)?, pins.stats()?);
        let (mut pairs, (mut flows, _)) = (pins.pairs()?, pins.flows(&many())?);
        let labels = Labels::new(names(&self.engine).await?);
        labels.status(&mut status);
        labels.stats(&mut stats);
        labels.pairs(&mut pairs);
        labels.flows(&mut flows);
        Ok(Seen { status, stats, pairs, flows })
    }
}
