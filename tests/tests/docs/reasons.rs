//! Every reason has a test of the compiled program that ends under it, or is here with why it has none.

use bridgefwd_common::Reason;

use super::{sources, text};

/// Reasons without such a test.
const WITHOUT: [(Reason, &str); 3] = [
    (Reason::WriteFailed, "a helper of the kernel would have to fail half-way"),
    (Reason::IpOptions, "nothing ends under it any more"),
    (Reason::OptionsInFlow, "nothing ends under it any more"),
];

#[test]
fn each_has_a_test() {
    let tests: String = sources()
        .iter()
        .filter(|path| path.starts_with("tests/tests/bytecode/"))
        .map(|path| text(path))
        .collect();
    let named = |reason: &Reason| {
        let name = format!("Reason::{reason:?}");
        tests.match_indices(&name).any(|(at, _)| {
            let behind = tests[at + name.len()..].chars().next();
            !behind.is_some_and(|character| character.is_alphanumeric())
        })
    };
    let missing: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !named(reason) && WITHOUT.iter().all(|(without, _)| without != *reason))
        .collect();
    assert!(missing.is_empty(), "no test in tests/tests/bytecode ends under {missing:?}");
    assert!(named(&Reason::FlowCreated) && !named(&Reason::WriteFailed));
}
