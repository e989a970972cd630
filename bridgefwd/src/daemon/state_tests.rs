//! Addresses of a NAT are the target end's own.

use bytemuck::Zeroable as _;

use super::*;

#[test]
fn nat_addresses_must_be_the_targets() {
    let mut target = Interface { address_count: 2, address_count_v6: 1, ..Interface::zeroed() };
    target.addresses[0].address = Address::v4([172, 19, 0, 1]);
    target.addresses[1].address = Address::v4([172, 19, 0, 2]);
    target.addresses_v6[0].address = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]).into();
    let v4 = |text: &str| {
        let v4 = Nat::parse(text, Family::V4).unwrap();
        check_nat(&PairNat { v4, ..PairNat::default() }, "db", &target)
    };
    for good in ["masquerade", "none", "172.19.0.1", "172.19.0.2,172.19.0.1"] {
        assert!(v4(good).is_ok(), "{good}");
    }
    let Err(Failure::Usage(why)) = v4("172.19.0.1,172.19.0.9") else { panic!("not refused") };
    let has = "db has: 172.19.0.1, 172.19.0.2";
    assert!(why.contains("172.19.0.9 is not") && why.ends_with(has), "{why}");
    // The rest of the array is not set.
    assert!(v4("0.0.0.0").is_err());
    let v6 = |text: &str| {
        let v6 = Nat::parse(text, Family::V6).unwrap();
        check_nat(&PairNat { v6, ..PairNat::default() }, "db", &target)
    };
    assert!(v6("fd00::1").is_ok() && v6("masquerade").is_ok());
    let Err(Failure::Usage(why)) = v6("fd00::1-fd00::2") else { panic!("not refused") };
    assert!(why.contains("fd00::2 is not") && why.ends_with("db has: fd00::1"), "{why}");
}
