//! Whatever happens, in whatever order, the engine keeps its contract.

use proptest::{collection::vec, prelude::*};

use super::{
    world::{Append, Stale, Step, World},
    *,
};

proptest! {
    #![proptest_config(cases(256))]

    /// The world checks each effect as it comes and each log at its end.
    #[test]
    fn every_turn_keeps_the_contract_and_ends(
        limits in limits(), owner in owner(), steps in vec(step(), 20..200),
    ) {
        let mut world = World::new(limits, owner);
        for step in &steps {
            world.step(step);
        }
        world.settle();
        world.check_end();
        check_limits(limits, &world.log);
    }
}

proptest! {
    #![proptest_config(cases(32))]

    /// Wherever its log ends, a turn goes on from there, and starts nothing that it has started.
    #[test]
    fn a_turn_can_be_taken_up_after_any_append(
        limits in limits(), owner in owner(), steps in vec(step(), 10..80),
    ) {
        let mut world = World::new(limits, owner);
        for step in &steps {
            world.step(step);
        }
        world.settle();
        for end in world.appends {
            let mut taken_up = World::after_crash(limits, world.log[..end].to_vec());
            taken_up.settle();
            taken_up.check_end();
        }
    }
}

/// Without a file of past failures: a failing case is printed, and becomes a test of its own.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn check_limits(limits: TurnLimits, log: &[Event]) {
    let mut starts: BTreeMap<CallId, u32> = BTreeMap::new();
    let mut parkings: BTreeMap<CallId, u32> = BTreeMap::new();
    let mut retries: BTreeMap<RoundId, u32> = BTreeMap::new();
    for event in log {
        match event {
            Event::RoundStarted { round, .. } => assert!(round.0 <= limits.rounds),
            Event::RoundRetrying { round, .. } => *retries.entry(*round).or_default() += 1,
            Event::CallStarted { call, .. } => *starts.entry(*call).or_default() += 1,
            Event::CallParked { call, .. } => *parkings.entry(*call).or_default() += 1,
            _ => {}
        }
    }
    let most = 1 + limits::PARKINGS + limits::RESTARTS;
    assert!(starts.values().all(|starts| *starts <= most));
    assert!(
        parkings
            .values()
            .all(|parkings| *parkings <= limits::PARKINGS)
    );
    assert!(
        retries
            .values()
            .all(|retries| *retries <= limits::ROUND_RETRIES)
    );
    assert!(starts.len() <= usize::try_from(limits.calls).unwrap());
}

fn limits() -> impl Strategy<Value = TurnLimits> {
    let rounds = prop_oneof![1 => 1..3_u32, 7 => 4..16_u32];
    let calls = prop_oneof![1 => 1..10_u32, 7 => 40..120_u32];
    (rounds, calls).prop_map(|(rounds, calls)| TurnLimits {
        rounds,
        calls,
        ..TurnLimits::default()
    })
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![2 => Just(Owner::Person), 1 => Just(Owner::Connection)]
}

/// What happens most is what keeps a turn going, so that the rest meets turns with much under way.
fn step() -> impl Strategy<Value = Step> {
    let n = any::<u8>;
    prop_oneof![
        30 => n().prop_map(Step::Catalog),
        200 => (vec(n(), 1..4), end()).prop_map(|(calls, end)| Step::Go { calls, end }),
        40 => (vec(n(), 4..14), end()).prop_map(|(calls, end)| Step::Go { calls, end }),
        8 => vec(n(), 30..40).prop_map(|calls| Step::Go { calls, end: RoundEnd::Calls }),
        20 => (retry(), partial()).prop_map(|(retry, partial)| Step::RoundFails(retry, partial)),
        60 => n().prop_map(Step::Accept),
        150 => (n(), refusal()).prop_map(|(n, refusal)| Step::Refuse(n, refusal)),
        200 => (n(), outcome()).prop_map(|(n, outcome)| Step::End(n, outcome)),
        80 => (reason(), proptest::option::of(n())).prop_map(|(r, s)| Step::Unpark(r, s)),
        120 => (n(), said()).prop_map(|(n, answer)| Step::Answer(n, answer)),
        50 => n().prop_map(Step::Time),
        120 => stale().prop_map(Step::Stale),
        20 => Just(Step::Back),
        8 => Just(Step::Crash),
        8 => prop_oneof![Just(Append::Lost), Just(Append::Done)].prop_map(Step::CrashAt),
        4 => by().prop_map(Step::Cancel),
        2 => Just(Step::LogLost),
    ]
}

fn stale() -> impl Strategy<Value = Stale> {
    let n = any::<u8>;
    prop_oneof![
        Just(Stale::Start),
        n().prop_map(Stale::RoundEnded),
        n().prop_map(Stale::RoundFailed),
        n().prop_map(Stale::Accepted),
        (n(), refusal()).prop_map(|(n, refusal)| Stale::Refused(n, refusal)),
        n().prop_map(Stale::Ended),
        n().prop_map(Stale::Answered),
        n().prop_map(Stale::Timer),
    ]
}

fn end() -> impl Strategy<Value = RoundEnd> {
    prop_oneof![
        60 => Just(RoundEnd::Calls),
        15 => Just(RoundEnd::Stop),
        1 => Just(RoundEnd::Length),
        1 => Just(RoundEnd::Filtered),
    ]
}

fn retry() -> impl Strategy<Value = Retry> {
    prop_oneof![
        1 => Just(Retry::Never),
        40 => proptest::option::of(0..100_000_u64).prop_map(Retry::After),
        1 => Just(Retry::Aborted),
    ]
}

fn partial() -> impl Strategy<Value = Partial> {
    prop_oneof![Just(Partial::Nothing), Just(Partial::Shown)]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        3 => Just(Refusal::StaleToken),
        3 => Just(Refusal::NeedsConnect),
        1 => Just(Refusal::Denied),
        1 => Just(Refusal::TooLarge),
        2 => Just(Refusal::SessionGone),
        2 => Just(Refusal::HeaderMismatch),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Ok),
        Just(Outcome::ToolError),
        Just(Outcome::Timeout),
        Just(Outcome::Cancelled),
        Just(Outcome::ProtocolError),
    ]
}

fn reason() -> impl Strategy<Value = ParkReason> {
    prop_oneof![Just(ParkReason::StaleToken), Just(ParkReason::NeedsConnect)]
}

fn said() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(Answer::Approve),
        1 => Just(Answer::Deny { reason: "no".into() }),
    ]
}

fn by() -> impl Strategy<Value = CancelBy> {
    prop_oneof![
        Just(CancelBy::User),
        Just(CancelBy::Connection),
        Just(CancelBy::Recovery),
    ]
}
