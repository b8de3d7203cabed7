// The DNS server of the cluster in tests/e2e: CoreDNS with only the plugins that this cluster uses. CoreDNS with all
// plugins would have three times as many dependencies.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	// A query visits the plugins in this order. The template is last, because it answers every query that is not about
	// the cluster.
	dnsserver.Directives = []string{"bind", "errors", "kubernetes", "template"}
	coremain.Run()
}
