//! The parts of the tour: each does something, says what came of it, and checks that.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::conversation::Conversation;
use super::daemon::Daemon;
use super::kernel;
use super::matrix::Matrix;
use super::probe::{self, Seen};
use super::report::Report;
use super::topology::{BACKOFFICE, DB1, FRONT1, LabHost, OFFICE1, SHOP_DB, SHOP_FRONT};
use crate::api::client::Client;
use crate::api::types::{FlowFilter, PairChange, PairCount, PairState, Stats};
use crate::failure::{Failure, Result};
use crate::views;
use crate::views::style::Style;

/// How long an answer may take that must come.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long to wait for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(600);

/// How much later than the answer to a toggle an echo may come that was on its way before.
const IN_FLIGHT: Duration = Duration::from_millis(50);

/// How long something may take that depends on TCP's retransmission timer.
const RETRANSMITTED_WITHIN: Duration = Duration::from_secs(6);

/// Time between two looks at a counter.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the tour's parts share.
pub struct Steps<'a> {
    report: &'a mut Report,
    client: Client,
    /// The kernel's counter and ours when bridgefwd took over.
    start: (u64, u64),
}

/// Part 1: the kernel alone.
///
/// # Errors
/// The lab does not work.
pub async fn without_bridgefwd(report: &mut Report) -> Result<()> {
    report.part("Before bridgefwd: who can reach whom");
    let before = kernel::forwarded()?;
    let matrix = Matrix::ask(PATIENCE).await?;
    report.block(&matrix.table());
    report.step(
        matrix.reached() == matrix.asked(),
        format!(
            "this router has no firewall, so the kernel forwards everything: {} of {}",
            matrix.reached(),
            matrix.asked()
        ),
    );
    report.step(matrix.untranslated(), "every server sees the client's own address");
    let forwarded = kernel::forwarded()?.saturating_sub(before);
    report
        .step(forwarded > 0, format!("the kernel's own counter: {} forwarded", packets(forwarded)));
    Ok(())
}

impl<'a> Steps<'a> {
    /// Part 2: bridgefwd with nothing allowed.
    ///
    /// # Errors
    /// A question could not be asked; so of all parts.
    pub async fn nothing_allowed(report: &'a mut Report, daemon: &Daemon) -> Result<Self> {
        report.part("bridgefwd on all three bridges, what is not listed denied");
        let client = daemon.client();
        let start = (kernel::forwarded()?, redirected(&client.stats().await?));
        report.step(
            true,
            format!("bridgefwd run ... --unlisted deny: ready after {}", ms(daemon.ready_after)),
        );
        let matrix = Matrix::ask(SILENCE).await?;
        report.block(&matrix.table());
        let refused = reason(&client.stats().await?, "unlisted_denied");
        report.step(
            matrix.reached() == 0 && matrix.silent() && refused > 0,
            format!("nothing crosses: {} of {}", matrix.reached(), matrix.asked()),
        );
        Ok(Self { report, client, start })
    }

    /// Part 3: one pair allowed, and what the server sees.
    pub async fn one_allowed(&mut self) -> Result<()> {
        self.report.part("bridgefwd pair allow shop_front shop_db");
        self.set_pair(PairState::Allowed).await?;
        let start = Instant::now();
        match http(&FRONT1, &DB1, PATIENCE).await? {
            Ok(Seen { own, seen }) => {
                let took = ms(start.elapsed());
                self.report.step(true, format!("front1 fetches http://{}/ in {took}", DB1.address));
                self.report.step(
                    own.ip() == IpAddr::V4(FRONT1.address) && *seen.ip() == SHOP_DB.gateway,
                    format!("front1 asked from {own}, db1 saw {seen}: shop_db's gateway"),
                );
            }
            Err(error) => self.report.step(
                false,
                format!("front1 fetches http://{}/: {}", DB1.address, in_words(&error)),
            ),
        }
        Ok(())
    }

    /// Part 4: a pair is one direction, and one bridge.
    pub async fn others_refused(&mut self) -> Result<()> {
        self.report.part("The reverse, and another bridge, stay refused");
        for (from, to, names) in [
            (&DB1, &FRONT1, (SHOP_DB.name, SHOP_FRONT.name)),
            (&FRONT1, &OFFICE1, (SHOP_FRONT.name, BACKOFFICE.name)),
        ] {
            let before = reason(&self.client.stats().await?, "unlisted_denied");
            let answer = http(from, to, SILENCE).await?;
            let dropped =
                reason(&self.client.stats().await?, "unlisted_denied").saturating_sub(before);
            let silent = answer.as_ref().is_err_and(probe::is_silence);
            let outcome = match &answer {
                Ok(_) => "it got an answer".into(),
                Err(error) => in_words(error),
            };
            self.report.step(
                silent && dropped > 0,
                format!(
                    "{} -> {} ({} asks {}): {outcome}; {} dropped as \
                     unlisted_denied",
                    names.0,
                    names.1,
                    from.name,
                    to.name,
                    packets(dropped)
                ),
            );
        }
        Ok(())
    }

    /// Part 5: off and on again under a running connection, which is given back.
    pub async fn toggled(&mut self) -> Result<Option<Conversation>> {
        self.report.part("The pair switched off and on under a running connection");
        let start = blocking(|| Conversation::start(&FRONT1, &DB1, PATIENCE)).await?;
        let conversation = match start {
            Ok(conversation) => conversation,
            Err(error) => {
                self.report.step(false, format!("no connection: {}", in_words(&error)));
                return Ok(None);
            }
        };
        let flows_on = within(PATIENCE, async || Ok(conversation.echoes() >= 100)).await?;
        self.report.step(
            flows_on,
            format!("front1 talks with db1's echo from {}, byte by byte", conversation.own),
        );
        let refused_before = self.pair_count().await?.refused;

        let switched = Instant::now();
        self.set_pair(PairState::Denied).await?;
        let answered = switched.elapsed();
        let refused = within(RETRANSMITTED_WITHIN, async || {
            Ok(self.pair_count().await?.refused > refused_before)
        })
        .await?;
        // Nothing to wait for: that is what is watched here.
        tokio::time::sleep(SILENCE).await;
        let silence = conversation.last().elapsed();
        let took = conversation.last().saturating_duration_since(switched);
        self.report.step(
            took < answered + IN_FLIGHT && silence >= SILENCE,
            format!(
                "pair deny: last echo {} after the request, which took {}; nothing for {} since",
                ms(took),
                ms(answered),
                ms(silence)
            ),
        );
        let refused_now = self.pair_count().await?.refused.saturating_sub(refused_before);
        self.report.step(refused, format!("the pair refused {}", packets(refused_now)));

        let echoes = conversation.echoes();
        let switched = Instant::now();
        self.set_pair(PairState::Allowed).await?;
        let goes_on =
            within(RETRANSMITTED_WITHIN, async || Ok(conversation.echoes() > echoes + 10)).await?;
        let broken = conversation.broken();
        let how = match &broken {
            Some(error) => format!("it broke: {error}"),
            None if goes_on => {
                format!("the same connection goes on after {}", ms(switched.elapsed()))
            }
            None => "nothing comes any more".into(),
        };
        self.report.step(
            goes_on && broken.is_none(),
            format!("pair allow: {how} (TCP retransmits in its own time)"),
        );
        Ok(Some(conversation))
    }

    /// Part 6: the other protocols.
    pub async fn other_protocols(&mut self) -> Result<()> {
        self.report.part("UDP and ICMP");
        match blocking(|| probe::udp(&FRONT1, &DB1, PATIENCE)).await? {
            Ok(Seen { own, seen }) => self.report.step(
                *seen.ip() == SHOP_DB.gateway,
                format!("UDP: front1 sent from {own}, db1 saw {seen}"),
            ),
            Err(error) => self.report.step(false, format!("UDP: {}", in_words(&error))),
        }
        match blocking(|| probe::ping(&FRONT1, &DB1, PATIENCE)).await? {
            Ok(took) => {
                let us = took.as_micros();
                self.report.step(true, format!("ping: db1 replied in {us} µs"));
            }
            Err(error) => self.report.step(false, format!("ping: {}", in_words(&error))),
        }
        Ok(())
    }

    /// Part 7: the flow table and the reasons, once `conversation` rests.
    pub async fn tables(&mut self, conversation: Option<&mut Conversation>) -> Result<()> {
        self.report.part("bridgefwd flows, bridgefwd stats");
        if let Some(conversation) = conversation {
            conversation.rest();
        }
        // Traffic in flight is counted before it has a reason.
        let settled = within(PATIENCE, async || {
            let stats = self.client.stats().await?;
            Ok(stats.packets == reasons_total(&stats))
        })
        .await?;
        let stats = self.client.stats().await?;
        let flows = self.client.flows(&FlowFilter::default()).await?;
        self.report.block(&views::flows::table(&flows, &Style::new(Some(WIDTH))));
        let complete = ["tcp", "udp", "icmp"].iter().all(|protocol| {
            flows.iter().any(|flow| {
                flow.proto == *protocol
                    && (flow.from.as_str(), flow.to.as_str()) == (SHOP_FRONT.name, SHOP_DB.name)
                    && flow.translated.src == SHOP_DB.gateway
                    && flow.packets.original > 0
                    && flow.packets.reply > 0
            })
        });
        self.report.step(
            complete,
            format!("{} flows; TCP, UDP and ICMP among them, both directions counted", flows.len()),
        );
        self.report.block(&views::stats::report(&stats, false, &Style::new(Some(WIDTH))));
        self.report.step(
            settled,
            format!("{} packets seen, and each has exactly one reason", stats.packets),
        );
        Ok(())
    }

    /// Part 8: whose work it was.
    pub async fn fast_path(&mut self) -> Result<()> {
        self.report.part("Who forwarded");
        let ours = redirected(&self.client.stats().await?).saturating_sub(self.start.1);
        let kernels = kernel::forwarded()?.saturating_sub(self.start.0);
        self.report.step(
            ours > 0 && kernels == 0,
            format!(
                "since bridgefwd runs: {} by bridgefwd, {kernels} by the kernel",
                packets(ours)
            ),
        );
        Ok(())
    }

    async fn set_pair(&self, state: PairState) -> Result<()> {
        let change = PairChange::to(state);
        self.client.put_pair(SHOP_FRONT.name, SHOP_DB.name, &change).await.map(drop)
    }

    async fn pair_count(&self) -> Result<PairCount> {
        let stats = self.client.stats().await?;
        let mut pairs = stats.pairs.into_iter();
        pairs
            .find(|pair| pair.from == SHOP_FRONT.name && pair.to == SHOP_DB.name)
            .ok_or_else(|| Failure::failed("bridgefwd does not list shop_front -> shop_db"))
    }
}

/// Columns left beside the tour's margin in a terminal of 80.
const WIDTH: u16 = 75;

async fn http(from: &'static LabHost, to: &'static LabHost, patience: Duration) -> Answer {
    blocking(move || probe::http(from, to, patience)).await
}

/// Outside what went wrong here, inside what came of the request.
type Answer = Result<io::Result<Seen>>;

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::failed(format!("a probe failed: {error}")))
}

/// Does it come true in that time?
async fn within(time: Duration, holds: impl AsyncFn() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + time;
    loop {
        if holds().await? {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn in_words(error: &io::Error) -> String {
    if probe::is_silence(error) { "no answer".into() } else { error.to_string() }
}

fn packets(count: u64) -> String {
    format!("{count} packet{}", if count == 1 { "" } else { "s" })
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn reason(stats: &Stats, name: &str) -> u64 {
    stats.reasons.get(name).map_or(0, |count| count.packets)
}

fn reasons_total(stats: &Stats) -> u64 {
    stats.reasons.values().map(|count| count.packets).sum()
}

/// Packets that bridgefwd itself sent on.
fn redirected(stats: &Stats) -> u64 {
    let counts = stats.reasons.values().filter(|count| count.verdict == "redirect");
    counts.map(|count| count.packets).sum()
}
