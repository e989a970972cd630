//! Makes a lesson's network, walks through it, and takes it away.

use std::fs;
use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use super::Lesson;
use super::command::{self, Running};
use super::outcome::{Outcome, Ran, complaints};
use super::script::{Part, Script, Step};
use crate::failure::{Failure, Result};
use crate::host::netns;
use crate::lab::report::Report;

/// How long a capture may take to see what it must, after the command that makes it.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

/// What tcpdump says once it captures.
const CAPTURES: &str = "listening on";

/// Where what happens is told.
pub trait Listener {
    /// A part begins.
    fn part(&mut self, part: &Part);
    /// Something is said before a step.
    fn say(&mut self, text: &str);
    /// A step has been gone.
    fn outcome(&mut self, outcome: Outcome);
}

/// Makes the lesson's network as it is at its end. False where it was there.
///
/// # Errors
/// A command failed; nothing is left then.
pub fn up(lesson: Lesson, listener: &mut impl Listener) -> Result<bool> {
    if is_up(&lesson.script()?)? {
        return Ok(false);
    }
    go(lesson, listener, true).map(|()| true)
}

/// Makes it anew and walks through every step.
///
/// # Errors
/// A command could not be run; nothing is left then. (That a step does not hold, the outcome says.)
pub fn walk(lesson: Lesson, listener: &mut impl Listener) -> Result<()> {
    down(lesson)?;
    go(lesson, listener, false)
}

/// Takes it away. False where there was nothing.
///
/// # Errors
/// Something could not be removed.
pub fn down(lesson: Lesson) -> Result<bool> {
    let script = lesson.script()?;
    let was_up = is_up(&script)?;
    for name in script.daemons.iter().filter(|name| netns::exists(name)) {
        must(&format!("bridgefwd --netns {name} down"))?;
    }
    for name in &script.namespaces {
        netns::delete(name)?;
    }
    for line in script.clear.iter().filter(|_| was_up) {
        must(line)?;
    }
    for file in &script.files {
        match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Failure::failed(format!("cannot remove {}: {error}", file.display())));
            }
            _ => {}
        }
    }
    Ok(was_up)
}

fn go(lesson: Lesson, listener: &mut impl Listener, only_build: bool) -> Result<()> {
    let script = lesson.script()?;
    needs(&script)?;
    let gone = script.parts.iter().try_for_each(|part| {
        if !only_build {
            listener.part(part);
        }
        part.steps
            .iter()
            .filter(|step| !only_build || !step.build.is_empty())
            .try_for_each(|step| take(part, step, listener))
    });
    gone.map_err(|failure| match down(lesson) {
        Ok(_) => failure,
        Err(left) => {
            Failure::failed(format!("{failure}; and it could not be taken away again: {left}"))
        }
    })
}

/// Is anything of it there?
fn is_up(script: &Script) -> Result<bool> {
    if script.namespaces.iter().any(|name| netns::exists(name)) {
        return Ok(true);
    }
    Ok(!script.is_there.is_empty() && command::run(&script.is_there)?.status == Some(0))
}

/// A command that has to succeed.
fn must(line: &str) -> Result<Ran> {
    let ran = command::run(line)?;
    if ran.status == Some(0) {
        return Ok(ran);
    }
    Err(Failure::failed(format!("`{line}` failed: {}", ran.output.trim_end())))
}

fn needs(script: &Script) -> Result<()> {
    let missing: Vec<&str> =
        script.needs.iter().map(String::as_str).filter(|name| !command::is_there(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "this lesson types commands that are not installed here: {}. On Debian they are in the \
         packages iproute2, iputils-ping, tcpdump, iptables, netcat-openbsd, procps, docker.io and \
         busybox-static",
        missing.join(", ")
    )))
}

fn take(part: &Part, step: &Step, listener: &mut impl Listener) -> Result<()> {
    if !step.say.is_empty() {
        listener.say(step.say.trim());
    }
    let outcome = if step.build.is_empty() { look(part, step)? } else { build(part, step)? };
    listener.outcome(outcome);
    Ok(())
}

fn build(part: &Part, step: &Step) -> Result<Outcome> {
    let ran = step.build.iter().map(|line| must(line)).collect::<Result<Vec<_>>>()?;
    let (part, means) = (part.title.clone(), step.means.clone());
    Ok(Outcome { part, ran, means, holds: true, why: Vec::new() })
}

fn look(part: &Part, step: &Step) -> Result<Outcome> {
    let mut captures = Vec::new();
    for watch in &step.watch {
        let mut running = Running::start(&watch.run)?;
        running.prints(CAPTURES)?;
        captures.push((watch, running));
    }
    let main = if step.ready.is_empty() {
        command::run(&step.run)?
    } else {
        let mut running = Running::start(&step.run)?;
        running.prints(&step.ready)?;
        running.stay()
    };
    let mut why = complaints(&main.output, &step.shows, &step.hides);
    match (step.ready.is_empty(), main.status == Some(0)) {
        (true, true) if step.fails => why.push("it succeeds".into()),
        (true, false) if !step.fails => why.push("it fails".into()),
        _ => {}
    }
    let mut ran = Vec::new();
    for (watch, running) in captures {
        let (one, missing) = captured(running, &watch.shows, &watch.hides)?;
        why.extend(missing);
        ran.push(one);
    }
    ran.push(main);
    let (part, means) = (part.title.clone(), step.means.clone());
    Ok(Outcome { part, ran, means, holds: why.is_empty(), why })
}

/// Ends a capture once it has what it must have, and leaves its own chatter out.
fn captured(running: Running, shows: &[String], hides: &[String]) -> Result<(Ran, Vec<String>)> {
    let deadline = Instant::now() + SEEN_WITHIN;
    while !complaints(&running.output(), shows, &[]).is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let mut ran = running.end(Duration::ZERO)?;
    let packets = ran.output.lines().filter(|line| line.contains("IP ") || line.contains("ARP"));
    ran.output = packets.map(|line| format!("{line}\n")).collect();
    let missing = complaints(&ran.output, shows, hides);
    let missing = missing.into_iter().map(|what| format!("{what}, in `{}`", ran.command)).collect();
    Ok((ran, missing))
}

/// Tells it to a person, as it happens.
impl Listener for Report {
    fn part(&mut self, part: &Part) {
        self.part(&part.title);
        part.say.trim().lines().for_each(|line| self.note(line));
    }

    fn say(&mut self, text: &str) {
        text.lines().for_each(|line| self.note(line));
    }

    fn outcome(&mut self, outcome: Outcome) {
        for ran in &outcome.ran {
            for (number, line) in ran.command.trim().lines().enumerate() {
                self.note(format!("{} {line}", if number == 0 { "$" } else { ">" }));
            }
            self.block(&ran.output);
        }
        if !outcome.means.is_empty() {
            let why = match outcome.why.join("; ") {
                why if why.is_empty() => why,
                why => format!(" ({why})"),
            };
            self.step(outcome.holds, format!("{}{why}", outcome.means));
        }
    }
}

/// Keeps it for a program.
impl Listener for Vec<Outcome> {
    fn part(&mut self, _part: &Part) {}

    fn say(&mut self, _text: &str) {}

    fn outcome(&mut self, outcome: Outcome) {
        self.push(outcome);
    }
}
