//! Typed operations on message groups.

use super::request::{Method, Placement, RpcRequest};

/// The version of the Live API.
pub const VERSION: &str = "2016-11-01";

/// The value of `GroupStatus` that excludes deleted groups from a list.
const EXISTING: &str = "1";

/// The supported operations. Each operation has its own limit: 50 calls per second for each account ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Creates a group. The call also succeeds if the ID is already in use.
    Create,
    /// Reads a group. A deleted group can be read for about 30 days.
    Describe,
    /// Changes the administrators or the info. Other fields of a group cannot be changed.
    Modify,
    /// Deletes a group. For about 30 days, it can be recovered and its ID cannot be reused.
    Delete,
    /// Recovers a deleted group.
    Recover,
    /// Lists the groups of an app, up to 50 per page.
    ListByPage,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 6] =
        [Self::Create, Self::Describe, Self::Modify, Self::Delete, Self::Recover, Self::ListByPage];

    /// Returns the name of the operation in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CreateLiveMessageGroup",
            Self::Describe => "DescribeLiveMessageGroup",
            Self::Modify => "ModifyLiveMessageGroup",
            Self::Delete => "DeleteLiveMessageGroup",
            Self::Recover => "RecoverLiveMessageDeletedGroup",
            Self::ListByPage => "ListLiveMessageGroupByPage",
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The identity of a group in the API.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupRef {
    /// The app ID.
    pub app_id: String,
    /// The group ID, chosen by its creator: `[A-Za-z0-9]{1,64}`.
    pub group_id: String,
    /// The data center: `cn-shanghai` or `ap-southeast-1`. If the field is `None`, it is not sent and defaults to the
    /// app's data center.
    pub data_center: Option<String>,
}

/// The fields of a new group. A field that is `None` is not sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupFields {
    /// The name, at most 128 bytes.
    pub group_name: Option<String>,
    /// The info, at most 32,768 bytes.
    pub group_info: Option<String>,
    /// The user ID of the creator: `[A-Za-z0-9]{1,64}`.
    pub creator_id: Option<String>,
    /// The user IDs of at most 3 administrators.
    pub administrators: Option<Vec<String>>,
}

/// A change to a group. If a field is `None`, the group keeps its value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupChange {
    /// The new info. An empty string clears the info.
    pub group_info: Option<String>,
    /// The user IDs of the new administrators. An empty list removes all administrators.
    pub administrators: Option<Vec<String>>,
}

impl GroupChange {
    /// Whether no field would change.
    pub fn is_empty(&self) -> bool {
        self.group_info.is_none() && self.administrators.is_none()
    }
}

/// A request for one page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    /// The app ID.
    pub app_id: String,
    /// See [`GroupRef::data_center`].
    pub data_center: Option<String>,
    /// The number of the page, 1 to 10,000.
    pub page_number: u32,
    /// Groups per page, 1 to 50.
    pub page_size: u32,
}

/// A typed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `CreateLiveMessageGroup`.
    Create(GroupRef, GroupFields),
    /// `DescribeLiveMessageGroup`.
    Describe(GroupRef),
    /// `ModifyLiveMessageGroup`.
    Modify(GroupRef, GroupChange),
    /// `DeleteLiveMessageGroup`.
    Delete(GroupRef),
    /// `RecoverLiveMessageDeletedGroup`.
    Recover(GroupRef),
    /// `ListLiveMessageGroupByPage`, with the oldest group first.
    ListByPage(ListRequest),
}

impl Call {
    /// Returns the group of the call, or `None` if the call lists groups.
    pub fn group(&self) -> Option<&GroupRef> {
        match self {
            Self::Create(group, _)
            | Self::Describe(group)
            | Self::Modify(group, _)
            | Self::Delete(group)
            | Self::Recover(group) => Some(group),
            Self::ListByPage(_) => None,
        }
    }

    /// Returns the operation of the call.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Create(..) => Operation::Create,
            Self::Describe(..) => Operation::Describe,
            Self::Modify(..) => Operation::Modify,
            Self::Delete(..) => Operation::Delete,
            Self::Recover(..) => Operation::Recover,
            Self::ListByPage(..) => Operation::ListByPage,
        }
    }

    /// Whether the call can change a group. If the answer is lost, the change may already have been made when the call
    /// is retried.
    pub fn is_mutating(&self) -> bool {
        !matches!(self, Self::Describe(..) | Self::ListByPage(..))
    }

    /// Returns the unsigned request, with the parameters in the query. A list is sent as one comma-separated value, as
    /// in the current SDKs. Booleans are in lower case.
    pub fn request(&self) -> RpcRequest {
        let mut params = Params::default();
        match self {
            Self::Create(group, fields) => {
                params.group(group);
                params.list("Administrators", fields.administrators.as_deref());
                params.optional("CreatorId", fields.creator_id.as_deref());
                params.optional("GroupInfo", fields.group_info.as_deref());
                params.optional("GroupName", fields.group_name.as_deref());
            }
            Self::Describe(group) | Self::Delete(group) | Self::Recover(group) => params.group(group),
            Self::Modify(group, change) => {
                params.group(group);
                params.list("AdminList", change.administrators.as_deref());
                params.optional("GroupInfo", change.group_info.as_deref());
                params.flag("ModifyAdmin", change.administrators.is_some());
                params.flag("ModifyInfo", change.group_info.is_some());
            }
            Self::ListByPage(page) => {
                params.optional("AppId", Some(&page.app_id));
                params.optional("DataCenter", page.data_center.as_deref());
                params.optional("GroupStatus", Some(EXISTING));
                params.optional("PageNumber", Some(&page.page_number.to_string()));
                params.optional("PageSize", Some(&page.page_size.to_string()));
                params.optional("SortType", Some("1"));
            }
        }
        RpcRequest {
            action: self.operation().as_str().to_owned(),
            version: VERSION.to_owned(),
            method: if matches!(self, Self::ListByPage(_)) { Method::Get } else { Method::Post },
            params: params.0,
            placement: Placement::Query,
        }
    }
}

#[derive(Default)]
struct Params(Vec<(String, String)>);

impl Params {
    fn group(&mut self, group: &GroupRef) {
        self.optional("AppId", Some(&group.app_id));
        self.optional("GroupId", Some(&group.group_id));
        self.optional("DataCenter", group.data_center.as_deref());
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.0.push((name.to_owned(), value.to_owned()));
        }
    }

    fn list(&mut self, name: &str, values: Option<&[String]>) {
        self.optional(name, values.map(|values| values.join(",")).as_deref());
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.optional(name, Some(if value { "true" } else { "false" }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> GroupRef {
        GroupRef { app_id: "demo".into(), group_id: "g1".into(), data_center: None }
    }

    #[test]
    fn booleans_are_lower_case_and_lists_are_joined() {
        let change = GroupChange { group_info: None, administrators: Some(vec!["u1".into(), "u2".into()]) };
        assert_eq!(
            Call::Modify(group(), change).request().encoded_params(),
            "AdminList=u1%2Cu2&AppId=demo&GroupId=g1&ModifyAdmin=true&ModifyInfo=false"
        );
    }

    #[test]
    fn absent_fields_are_omitted_and_empty_fields_are_sent() {
        let fields = GroupFields { administrators: Some(vec![]), ..GroupFields::default() };
        assert_eq!(Call::Create(group(), fields).request().encoded_params(), "Administrators=&AppId=demo&GroupId=g1");
    }

    #[test]
    fn every_field_is_sent_under_its_name() {
        let here = || GroupRef { data_center: Some("cn-shanghai".into()), ..group() };
        let fields = GroupFields {
            group_name: Some("Room".into()),
            group_info: Some("info".into()),
            creator_id: Some("me".into()),
            administrators: Some(vec!["u1".into()]),
        };
        let change = GroupChange { group_info: Some("info".into()), administrators: None };
        let list = ListRequest {
            app_id: "demo".into(),
            data_center: Some("cn-shanghai".into()),
            page_number: 2,
            page_size: 50,
        };
        let named = "AppId=demo&DataCenter=cn-shanghai";
        let listed = "PageNumber=2&PageSize=50&SortType=1";
        for (call, operation, method, writes, params) in [
            (
                Call::Create(here(), fields),
                Operation::Create,
                Method::Post,
                true,
                [
                    "Administrators=u1&AppId=demo&CreatorId=me&DataCenter=cn-shanghai",
                    "&GroupId=g1&GroupInfo=info&GroupName=Room",
                ]
                .concat(),
            ),
            (Call::Describe(here()), Operation::Describe, Method::Post, false, format!("{named}&GroupId=g1")),
            (
                Call::Modify(here(), change),
                Operation::Modify,
                Method::Post,
                true,
                format!("{named}&GroupId=g1&GroupInfo=info&ModifyAdmin=false&ModifyInfo=true"),
            ),
            (Call::Delete(here()), Operation::Delete, Method::Post, true, format!("{named}&GroupId=g1")),
            (Call::Recover(here()), Operation::Recover, Method::Post, true, format!("{named}&GroupId=g1")),
            (
                Call::ListByPage(list),
                Operation::ListByPage,
                Method::Get,
                false,
                format!("{named}&GroupStatus=1&{listed}"),
            ),
        ] {
            let request = call.request();
            assert_eq!(request.encoded_params(), params);
            assert_eq!((call.operation(), request.method, call.is_mutating()), (operation, method, writes), "{params}");
            assert_eq!(request.action, operation.as_str());
        }
    }
}
