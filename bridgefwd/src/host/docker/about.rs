//! Which engine it is: what it calls itself, its version, and what it makes its rules with.

use bollard::models::{SystemInfo, SystemVersion};

/// What an engine says of itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct About {
    /// `Docker`, or another one that speaks its language: `Podman`.
    pub product: String,
    /// Its version, as `28.5.2` or `20.10.24+dfsg1`.
    pub version: String,
    /// What it makes its rules with: `iptables`, `iptables+firewalld`, `nftables`. Engines before 28
    /// do not say it, and know iptables alone.
    pub firewall: Option<String>,
}

impl About {
    /// Of what it says to `docker version` and `docker info`.
    #[must_use]
    pub fn new(version: SystemVersion, info: SystemInfo) -> Self {
        let mut components = version.components.into_iter().flatten();
        let podman = components.any(|part| part.name.starts_with("Podman"));
        Self {
            product: if podman { "Podman" } else { "Docker" }.into(),
            version: version.version.unwrap_or_default(),
            firewall: info.firewall_backend.and_then(|backend| backend.driver),
        }
    }

    /// The first number of its version, where it is Docker's and has one.
    #[must_use]
    pub fn docker_major(&self) -> Option<u32> {
        let first = self.version.split('.').next()?;
        (self.product == "Docker").then(|| first.parse().ok()).flatten()
    }

    /// Does it make its rules with nftables?
    #[must_use]
    pub fn by_nftables(&self) -> bool {
        self.firewall.as_deref().is_some_and(|driver| driver.starts_with("nftables"))
    }

    /// In words.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { product, version, firewall } = self;
        match firewall {
            Some(firewall) => format!("{product} {version}, by {firewall}"),
            None => format!("{product} {version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the answers to `GET /version` and `GET /info`, shortened to what tells engines apart.
    fn about(version: &str, info: &str) -> About {
        About::new(serde_json::from_str(version).unwrap(), serde_json::from_str(info).unwrap())
    }

    #[test]
    fn engines_are_told_apart() {
        let docker = |version: &str, api: &str, info: &str| {
            about(
                &format!(
                    r#"{{"Platform": {{"Name": ""}}, "Components": [
                        {{"Name": "Engine", "Version": "{version}", "Details": {{"ApiVersion": "{api}"}}}},
                        {{"Name": "containerd", "Version": "1.7.28"}}],
                        "Version": "{version}", "ApiVersion": "{api}", "MinAPIVersion": "1.12"}}"#
                ),
                info,
            )
        };
        let old = docker(
            "20.10.24+dfsg1",
            "1.41",
            r#"{"ServerVersion": "20.10.24+dfsg1", "BridgeNfIptables": true, "CgroupVersion": "1",
                "LiveRestoreEnabled": false, "SecurityOptions": ["name=seccomp,profile=default"],
                "Warnings": null}"#,
        );
        assert_eq!((old.docker_major(), old.by_nftables()), (Some(20), false));
        assert_eq!(old.text(), "Docker 20.10.24+dfsg1");
        let before =
            docker("27.5.1", "1.47", r#"{"ServerVersion": "27.5.1", "CgroupVersion": "2"}"#);
        assert_eq!((before.docker_major(), before.text()), (Some(27), "Docker 27.5.1".into()));
        let now = docker("28.5.2", "1.51", r#"{"FirewallBackend": {"Driver": "iptables"}}"#);
        assert_eq!((now.docker_major(), now.by_nftables()), (Some(28), false));
        assert_eq!(now.text(), "Docker 28.5.2, by iptables");
        let next = docker(
            "29.0.0-rc.1",
            "1.52",
            r#"{"FirewallBackend": {"Driver": "nftables", "Info": [["ReloadedAt", "now"]]}}"#,
        );
        assert_eq!((next.docker_major(), next.by_nftables()), (Some(29), true));
    }

    #[test]
    fn podman_speaks_the_same_language_but_is_not_docker() {
        let version = r#"{"Components": [{"Name": "Podman Engine", "Version": "4.3.1"}],
            "Version": "4.3.1", "ApiVersion": "1.41"}"#;
        let podman = about(version, "{}");
        assert_eq!((podman.text(), podman.docker_major()), ("Podman 4.3.1".into(), None));
    }

    #[test]
    fn a_version_of_somebody_s_own_has_no_number() {
        let own = about(r#"{"Version": "dev"}"#, "{}");
        assert_eq!((own.docker_major(), own.text()), (None, "Docker dev".into()));
    }
}
