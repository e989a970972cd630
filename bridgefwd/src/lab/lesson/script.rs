//! Lessons as they are written down: parts, in them steps, each with the command that a person would
//! type and what must come of it.

use std::path::PathBuf;

use serde::Deserialize;

use crate::failure::{Failure, Result};

/// A lesson of the lab.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What it is about, in a few words.
    pub title: String,
    /// Programs that its commands are made of.
    pub needs: Vec<String>,
    /// Network namespaces, by the names that its commands have for them.
    pub namespaces: Vec<String>,
    /// Those of them in which bridgefwd runs at some time.
    #[serde(default)]
    pub daemons: Vec<String>,
    /// Succeeds where something of it is there beside namespaces; empty where nothing ever is.
    #[serde(default)]
    pub is_there: String,
    /// Takes that away.
    #[serde(default)]
    pub clear: Vec<String>,
    /// Files that its commands may leave.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// What it consists of, in order.
    #[serde(rename = "part")]
    pub parts: Vec<Part>,
}

/// One thought of a lesson.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its headline.
    pub title: String,
    /// What there is to know first.
    #[serde(default)]
    pub say: String,
    /// What to do, in order.
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
}

/// A command, and what is to be seen.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// What there is to know before this command.
    pub say: String,
    /// Commands that make the network; they must succeed, and are all that `up` runs.
    pub build: Vec<String>,
    /// The command.
    pub run: String,
    /// A daemon: it stays, and is there once it prints this.
    pub ready: String,
    /// Must it fail? Else it must succeed.
    pub fails: bool,
    /// What its output must have, each in some line.
    pub shows: Vec<String>,
    /// What its output must not have.
    pub hides: Vec<String>,
    /// Captures that run meanwhile.
    pub watch: Vec<Watch>,
    /// What that shows, as a sentence.
    pub means: String,
}

/// A capture while a step's command runs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// The command; it ends by itself, or is told to once the step's command has ended.
    pub run: String,
    /// What it must show, each in some line, in this order.
    pub shows: Vec<String>,
    /// What it must not show.
    pub hides: Vec<String>,
}

impl Script {
    /// Reads a lesson. `{in NAME}` becomes the command that enters that namespace, `{NAME}` the name
    /// it has on this machine.
    ///
    /// # Errors
    /// It is not written as a lesson is.
    pub fn parse(lesson: &str, text: &str) -> Result<Self> {
        let mut script: Self = toml::from_str(text)
            .map_err(|error| Failure::failed(format!("the lesson {lesson}: {error}")))?;
        let names: Vec<String> = script.namespaces.clone();
        let expand = |text: &mut String| {
            for name in &names {
                let netns = netns_of(lesson, name);
                *text = text
                    .replace(
                        &format!("{{in {name}}}"),
                        &format!("nsenter --net=/run/netns/{netns}"),
                    )
                    .replace(&format!("{{{name}}}"), &netns);
            }
        };
        for part in &mut script.parts {
            expand(&mut part.say);
            for step in &mut part.steps {
                step.build.iter_mut().for_each(expand);
                step.watch.iter_mut().for_each(|watch| expand(&mut watch.run));
                for text in [&mut step.say, &mut step.run, &mut step.means] {
                    expand(text);
                }
            }
        }
        for names in [&mut script.namespaces, &mut script.daemons] {
            for name in names {
                *name = netns_of(lesson, name);
            }
        }
        Ok(script)
    }
}

/// What a lesson's namespace is called on this machine.
fn netns_of(lesson: &str, name: &str) -> String {
    format!("lab-{lesson}-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_those_of_the_machine() {
        let text = "title = 'T'\nneeds = ['ip']\nnamespaces = ['left']\n\
            [[part]]\ntitle = 'P'\nstep = [{ build = ['ip netns add {left}'] },\n\
            { run = '{in left} ping -c 1 10.0.0.1', fails = true, means = 'no' }]\n";
        let script = Script::parse("x", text).unwrap();
        assert_eq!(script.namespaces, ["lab-x-left"]);
        let steps = &script.parts[0].steps;
        assert_eq!(steps[0].build, ["ip netns add lab-x-left"]);
        assert_eq!(steps[1].run, "nsenter --net=/run/netns/lab-x-left ping -c 1 10.0.0.1");
        assert!(steps[1].fails);
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        let text = "title = 'T'\nneeds = []\nnamespaces = []\n[[part]]\ntitle = 'P'\nstep = [{ rnu = '' }]\n";
        let error = Script::parse("x", text).unwrap_err().to_string();
        assert!(error.contains("rnu"), "{error}");
    }
}
