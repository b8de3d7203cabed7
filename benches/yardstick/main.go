// A plain operator for the same job as live-message-operator: controller-runtime, the official Go SDK and
// golang.org/x/time/rate. `make bench` compares the operator with it. It only creates groups: it does not adopt or
// delete groups or check for drift, and calls the Live API for every object after a restart.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/live"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

type options struct {
	endpoint   string
	health     string
	namespace  string
	leaderName string
	qps        float64
	workers    int
}

type reconciler struct {
	client.Client
	live    *live.Client
	limiter *rate.Limiter
	events  events.EventRecorder
}

// Reconcile creates the group of an object, and writes one status and one event if the status changes.
func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var group LiveMessageGroup
	if err := r.Get(ctx, req.NamespacedName, &group); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := group.DeepCopyObject().(*LiveMessageGroup)
	if err := r.limiter.Wait(ctx); err != nil {
		return ctrl.Result{}, err
	}
	id, ready, err := r.create(&group)
	changed := meta.SetStatusCondition(&group.Status.Conditions, ready)
	group.Status.ObservedGeneration, group.Status.GroupID = group.Generation, id
	if !equality.Semantic.DeepEqual(before.Status, group.Status) {
		if err := r.Status().Patch(ctx, &group, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, err
		}
	}
	if changed {
		kind := corev1.EventTypeNormal
		if ready.Status != metav1.ConditionTrue {
			kind = corev1.EventTypeWarning
		}
		r.events.Eventf(&group, nil, kind, ready.Reason, "Reconcile", "group %s: %s", id, ready.Reason)
	}
	return ctrl.Result{RequeueAfter: 10 * time.Minute}, err
}

func (r *reconciler) create(group *LiveMessageGroup) (string, metav1.Condition, error) {
	call := live.CreateCreateLiveMessageGroupRequest()
	call.Scheme, call.AppId, call.GroupId = "HTTP", group.Spec.AppID, group.Spec.GroupID
	call.GroupName, call.GroupInfo = group.Spec.GroupName, group.Spec.GroupInfo
	if call.GroupId == "" {
		call.GroupId = group.Name
	}
	call.Administrators = &group.Spec.Administrators
	ready := metav1.Condition{
		Type: "Ready", Status: metav1.ConditionTrue, Reason: "Created", ObservedGeneration: group.Generation,
	}
	answer, err := r.live.CreateLiveMessageGroup(call)
	switch {
	case err != nil:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, "Error", err.Error()
	case answer.AlreadyDelete:
		ready.Status, ready.Reason = metav1.ConditionFalse, "GroupDeleted"
	case answer.AlreadyExists:
		ready.Reason = "AlreadyExists"
	}
	return call.GroupId, ready, err
}

func main() {
	var o options
	flag.StringVar(&o.endpoint, "endpoint", "", "URL of the Live API, http://ADDR:PORT")
	flag.StringVar(&o.health, "health-bind-address", "127.0.0.1:0", "address of /readyz")
	flag.StringVar(&o.namespace, "watch-namespace", "", "namespace of the objects and of the Lease")
	flag.StringVar(&o.leaderName, "leader-elect-resource-name", "", "name of the Lease")
	flag.Float64Var(&o.qps, "requests-per-second", 50, "calls per second; 0: no limit")
	flag.IntVar(&o.workers, "workers", 10, "number of workers")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctrl.SetLogger(zap.New())
	manager, err := newManager(o)
	if err != nil {
		return err
	}
	api, err := live.NewClientWithAccessKey("cn-shanghai",
		os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"), os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET"))
	if err != nil {
		return err
	}
	api.Domain = strings.TrimPrefix(o.endpoint, "http://")
	limit := rate.Limit(o.qps)
	if o.qps == 0 {
		limit = rate.Inf
	}
	r := &reconciler{
		Client: manager.GetClient(), live: api, limiter: rate.NewLimiter(limit, 1),
		events: manager.GetEventRecorder("yardstick"),
	}
	err = ctrl.NewControllerManagedBy(manager).
		For(&LiveMessageGroup{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: o.workers}).
		Complete(r)
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	if err := serveReady(ctx, manager); err != nil {
		return err
	}
	return manager.Start(ctx)
}

func newManager(o options) (ctrl.Manager, error) {
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, err
	}
	// The benchmark must not measure client-go's own rate limiter.
	config.QPS, config.Burst = 1000, 2000
	return ctrl.NewManager(config, ctrl.Options{
		Scheme:                        newScheme(),
		Metrics:                       metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress:        o.health,
		Cache:                         cache.Options{DefaultNamespaces: map[string]cache.Config{o.namespace: {}}},
		LeaderElection:                true,
		LeaderElectionID:              o.leaderName,
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
	})
}

// serveReady makes /readyz succeed when the cache contains all objects, as /readyz of the operator does.
func serveReady(ctx context.Context, manager ctrl.Manager) error {
	informer, err := manager.GetCache().GetInformer(ctx, &LiveMessageGroup{}, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	return manager.AddReadyzCheck("cache", func(*http.Request) error {
		if !informer.HasSynced() {
			return errors.New("the cache is not complete")
		}
		return nil
	})
}
