//! How this machine is reached: flags for firewalls, NATs and what lies between.

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use antiphon::{ApiBuilder, CandidateKind, NatMapping, RtcConfiguration};

/// Flags that decide which ways lead to this machine.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "How this machine is reached")]
pub struct ReachArgs {
    /// Accept media over TCP too (passive ICE-TCP candidates), for peers whose networks let no UDP out.
    #[arg(long)]
    pub tcp: bool,
    /// The public address under which a NAT passes all ports on to this machine, as clouds do. Repeatable: IPv4 and IPv6.
    #[arg(long = "nat-address", value_name = "ADDRESS")]
    pub nat_addresses: Vec<IpAddr>,
    /// The ports for media, for firewalls. Without it the system chooses.
    #[arg(long, value_name = "FIRST-LAST", value_parser = port_range)]
    pub ports: Option<RangeInclusive<u16>>,
    /// Use this network interface and no other, by name (eth0). Repeatable.
    #[arg(long = "interface", value_name = "NAME")]
    pub interfaces: Vec<String>,
    /// Hide this machine's addresses behind random .local names, which only its own network can resolve.
    #[arg(long)]
    pub hide_addresses: bool,
    /// PEM file with certificates to trust for turns: and stuns: servers, besides those of the system.
    #[arg(long, value_name = "FILE")]
    pub ice_ca: Option<PathBuf>,
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').ok_or("two ports are needed: FIRST-LAST")?;
    let port = |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is no port"));
    let (first, last) = (port(first)?, port(last)?);
    if first == 0 || first > last {
        return Err("the first port must be at least 1 and at most the last".to_owned());
    }
    Ok(first..=last)
}

impl ReachArgs {
    /// Writes the flags into the sockets' configuration.
    ///
    /// # Errors
    /// If the file of certificates cannot be read or holds none.
    pub fn builder(&self, mut builder: ApiBuilder) -> io::Result<ApiBuilder> {
        if let Some(ports) = self.ports.clone() {
            builder = builder.port_range(ports);
        }
        if !self.interfaces.is_empty() {
            builder = builder.only_interfaces(self.interfaces.clone());
        }
        if let Some(path) = &self.ice_ca {
            let named = |e: &dyn std::fmt::Display| io::Error::other(format!("{}: {e}", path.display()));
            let pem = std::fs::read(path).map_err(|e| named(&e))?;
            builder = builder.trusted_certificates_pem(&pem).map_err(|e| named(&e))?;
        }
        Ok(builder)
    }

    /// Writes the flags into a connection's configuration.
    pub fn configure(&self, configuration: &mut RtcConfiguration) {
        let ice = &mut configuration.settings.ice;
        ice.tcp.passive |= self.tcp;
        ice.hide_host_addresses |= self.hide_addresses;
        ice.nat_mappings
            .extend(self.nat_addresses.iter().map(|external| NatMapping {
                internal: None,
                external: *external,
                // Besides, not instead: peers of this network go on reaching us directly.
                kind: CandidateKind::ServerReflexive,
            }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges() {
        assert_eq!(port_range("5000-5010"), Ok(5000..=5010));
        assert_eq!(port_range("5000-5000"), Ok(5000..=5000));
        for wrong in ["5000", "5010-5000", "0-5", "5-", "a-b", "1-70000"] {
            assert!(port_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flags_reach_the_agent() {
        let flags = ReachArgs {
            tcp: true,
            nat_addresses: vec![IpAddr::from([203, 0, 113, 7])],
            ..ReachArgs::default()
        };
        let mut configuration = RtcConfiguration::default();
        flags.configure(&mut configuration);
        assert!(configuration.settings.ice.tcp.passive);
        assert_eq!(configuration.settings.ice.nat_mappings.len(), 1);
        let absent = ReachArgs {
            ice_ca: Some("no such file".into()),
            ..ReachArgs::default()
        };
        let error = absent.builder(antiphon::Api::builder()).unwrap_err();
        assert!(error.to_string().contains("no such file"), "{error}");
    }
}
