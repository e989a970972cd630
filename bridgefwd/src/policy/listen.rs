//! Where the metrics are served by TCP, as users write it: `9477`, `192.0.2.1:9477`, `[::]:9477`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::failure::{Failure, Result};

/// Reads it. A port alone is one of the loopback address: what others shall reach has an address.
///
/// # Errors
///
/// Says what it can be.
pub fn parse(text: &str) -> Result<SocketAddr> {
    let address = match text.parse::<u16>() {
        Ok(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        Err(_) => text.parse().ok(),
    };
    address.filter(|address| address.port() != 0).ok_or_else(|| {
        Failure::usage(format!(
            "{text:?} is no address to listen at: give a port (on 127.0.0.1 then), or ADDRESS:PORT, \
             of IPv6 [ADDRESS]:PORT"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        assert_eq!(parse("9477").unwrap().to_string(), "127.0.0.1:9477");
        assert_eq!(parse("0.0.0.0:9477").unwrap().to_string(), "0.0.0.0:9477");
        assert_eq!(parse("[::1]:9477").unwrap().to_string(), "[::1]:9477");
        for wrong in ["", "0", "127.0.0.1", "localhost:9477", ":9477", "1.2.3.4:0", "99999", "::1"]
        {
            let why = parse(wrong).unwrap_err();
            assert_eq!(why.exit_status(), 2);
            assert!(why.to_string().contains("ADDRESS:PORT"), "{why}");
        }
    }
}
