//! `bridgefwd events`

use std::ops::ControlFlow;

use super::{ask, output};
use crate::api::events::{Event, What};
use crate::cli::EventsOptions;
use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::views;

pub(super) fn run(options: &EventsOptions, instance: &Instance) -> Result<()> {
    let mut left = options.count;
    let mut each = |line: &str| -> Result<ControlFlow<()>> {
        let event: Event = serde_json::from_str(line).map_err(|error| {
            Failure::failed(format!(
                "the daemon tells of something that this version does not understand ({error}): \
                 are they of the same version?"
            ))
        })?;
        // What is missing is told whatever was asked for.
        let always =
            matches!(event.what, What::Untold(_) | What::Listening { .. } | What::Stopped { .. });
        let wanted = options.only.is_empty()
            || always
            || options.only.iter().any(|kind| kind.name() == event.name());
        if !wanted {
            return Ok(ControlFlow::Continue(()));
        }
        let shown = if options.json { line.to_owned() } else { views::events::line(&event) };
        if output::stream(&shown)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if !always && let Some(left) = &mut left {
            *left -= 1;
            if *left == 0 {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    };
    let mut ended = true;
    ask(instance, async |client| {
        client
            .events(|line| {
                let flow = each(line)?;
                ended &= flow.is_continue();
                Ok(flow)
            })
            .await
    })?;
    if ended {
        return Err(Failure::NoDaemon("the daemon has ended: nobody tells what happens".into()));
    }
    Ok(())
}
