//! Tests that the record of a group applies only to the account in the record.

use serde_json::json;

use super::ownership::{deleting_policy, end, found, in_deletion, take, with_intent};
use super::*;
use crate::decide::DeletionOutcome;
use crate::resources::{AccountRecord, Origin};

fn account(service: &str, name: &str) -> AccountRecord {
    AccountRecord { service: service.into(), name: name.into(), uid: if name.is_empty() { "" } else { "u7" }.into() }
}

fn facts_at(account: &AccountRecord) -> Facts {
    let mut facts = Facts::default();
    facts.set_account(Some(account.clone()));
    facts
}

#[test]
fn group_is_deleted_only_with_the_account_that_created_it() {
    let (live, team) = (account("live.aliyuncs.com", ""), account("live.aliyuncs.com", "team"));
    let elsewhere = account("live.example.com", "team");
    let replaced = AccountRecord { uid: "u8".into(), ..team.clone() };
    for (created, now, own) in [
        (&live, &live, true),
        (&team, &team, true),
        (&elsewhere, &live, false),
        (&elsewhere, &team, false),
        (&team, &live, false),
        (&live, &team, false),
        (&team, &replaced, false),
    ] {
        let mut facts = facts_at(created);
        let object = with_intent(deleting_policy(json!({})), &facts, 100);
        take(&mut facts, &object, 101, &Answer::Created);
        take(&mut facts, &object, 102, &found("v1", 100));
        let status = end(&object, &facts);
        assert_eq!(status.account.as_ref(), Some(created));
        let deleting = in_deletion(object.clone(), status.clone());
        let mut facts = facts_at(now);
        if own {
            take(&mut facts, &deleting, 200, &found("v1", 100));
            assert!(matches!(decide(&deleting, &facts, None), Action::Call(Call::Delete(_))), "{created:?}");
            continue;
        }
        let Action::FinishDeletion(DeletionOutcome::Retained(why)) = decide(&deleting, &facts, None) else {
            panic!("expected a retained group")
        };
        assert!(why.contains("another account"), "{why}");
        // After an edit, the group counts as adopted with the new account.
        let edited = with(LiveMessageGroup { status: Some(status), ..object }, edited(json!({})));
        take(&mut facts, &edited, 200, &found("v1", 100));
        let status = end(&edited, &facts);
        assert_eq!((status.origin, status.account.as_ref()), (Some(Origin::Adopted), Some(now)));
    }
}

#[test]
fn intent_of_another_account_proves_nothing() {
    let (team, live) = (account("live.example.com", "team"), account("live.aliyuncs.com", ""));
    let object = with_intent(deleting_policy(json!({})), &facts_at(&team), 100);
    let mut facts = facts_at(&live);
    let object = with_intent(object, &facts, 200);
    let intent = object.create_intent().unwrap();
    assert_eq!((intent.started_at.as_str(), intent.sent.len()), (at(200).to_string().as_str(), 1));
    assert_eq!(object.status.as_ref().unwrap().account.as_ref(), Some(&live));
    take(&mut facts, &object, 201, &Answer::Exists);
    take(&mut facts, &object, 202, &found("v1", 150));
    assert_eq!(end(&object, &facts).origin, Some(Origin::Adopted));
}
