//! What is attached at TC hooks, whoever asks for it and by whatever means it is there: Debian's
//! `bpftool net show` knows nothing of TCX.

use aya::programs::{SchedClassifier, TcAttachType};

use crate::namespaces::Namespace;

/// How a program is attached.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Attached {
    /// The interface.
    pub interface: String,
    /// `ingress` or `egress`.
    pub hook: &'static str,
    /// Name of the program: the kernel keeps 15 letters of it.
    pub program: String,
    /// Id of the program.
    pub id: u32,
}

/// The programs at one hook of an interface, first those of TCX, then those of clsact filters.
#[must_use]
#[track_caller]
pub fn at(ns: &Namespace, interface: &str, hook: &'static str) -> Vec<Attached> {
    let by_tcx = ns.run(|| {
        let hook = match hook {
            "ingress" => TcAttachType::Ingress,
            _ => TcAttachType::Egress,
        };
        match SchedClassifier::query_tcx(interface, hook) {
            Ok((_, programs)) => programs
                .iter()
                .map(|info| (info.name_as_str().unwrap_or_default().to_owned(), info.id()))
                .collect::<Vec<_>>(),
            // Kernels before 6.6 have no TCX.
            Err(_) => Vec::new(),
        }
    });
    let filters = ns.command("tc", &["-json", "filter", "show", "dev", interface, hook]);
    let filters: serde_json::Value = match filters.trim() {
        "" => serde_json::Value::Null,
        text => serde_json::from_str(text).expect(text),
    };
    let by_filter = filters.as_array().into_iter().flatten().filter_map(|filter| {
        let options = &filter["options"];
        let id = u32::try_from(options["prog"]["id"].as_u64()?).ok()?;
        let name = options["prog"]["name"].as_str().or(options["bpf_name"].as_str())?;
        Some((name.chars().take(15).collect(), id))
    });
    let all = by_tcx.into_iter().chain(by_filter);
    all.map(|(program, id)| Attached { interface: interface.into(), hook, program, id }).collect()
}

/// Everything that is attached in a namespace, in order.
#[must_use]
#[track_caller]
pub fn all(ns: &Namespace) -> Vec<Attached> {
    let links = ns.command("ip", &["-o", "link", "show"]);
    let names = links.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next());
    let mut all: Vec<_> = names
        .flat_map(|name| ["ingress", "egress"].into_iter().flat_map(|hook| at(ns, name, hook)))
        .collect();
    all.sort();
    all
}
