//! The operations the emulator knows.

/// One operation of the Live API, version 2016-11-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `CreateLiveMessageGroup`.
    CreateGroup,
    /// `DescribeLiveMessageGroup`.
    DescribeGroup,
    /// `ModifyLiveMessageGroup`.
    ModifyGroup,
    /// `DeleteLiveMessageGroup`.
    DeleteGroup,
    /// `RecoverLiveMessageDeletedGroup`.
    RecoverGroup,
    /// `ListLiveMessageGroupByPage`.
    ListGroupsByPage,
    /// `ListLiveMessageGroups`.
    ListGroups,
    /// `CreateLiveMessageApp`.
    CreateApp,
    /// `DescribeLiveMessageApp`.
    DescribeApp,
    /// `ListLiveMessageApps`.
    ListApps,
    /// `ModifyLiveMessageAppAudit`.
    ModifyAppAudit,
    /// `ModifyLiveMessageAppCallback`.
    ModifyAppCallback,
    /// `ModifyLiveMessageAppDisable`.
    ModifyAppDisable,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 13] = [
        Self::CreateGroup,
        Self::DescribeGroup,
        Self::ModifyGroup,
        Self::DeleteGroup,
        Self::RecoverGroup,
        Self::ListGroupsByPage,
        Self::ListGroups,
        Self::CreateApp,
        Self::DescribeApp,
        Self::ListApps,
        Self::ModifyAppAudit,
        Self::ModifyAppCallback,
        Self::ModifyAppDisable,
    ];

    /// The name on the wire: `x-acs-action`, or the parameter `Action` of signature V1.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateGroup => "CreateLiveMessageGroup",
            Self::DescribeGroup => "DescribeLiveMessageGroup",
            Self::ModifyGroup => "ModifyLiveMessageGroup",
            Self::DeleteGroup => "DeleteLiveMessageGroup",
            Self::RecoverGroup => "RecoverLiveMessageDeletedGroup",
            Self::ListGroupsByPage => "ListLiveMessageGroupByPage",
            Self::ListGroups => "ListLiveMessageGroups",
            Self::CreateApp => "CreateLiveMessageApp",
            Self::DescribeApp => "DescribeLiveMessageApp",
            Self::ListApps => "ListLiveMessageApps",
            Self::ModifyAppAudit => "ModifyLiveMessageAppAudit",
            Self::ModifyAppCallback => "ModifyLiveMessageAppCallback",
            Self::ModifyAppDisable => "ModifyLiveMessageAppDisable",
        }
    }

    /// The operation of that name; names are case-sensitive.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}
