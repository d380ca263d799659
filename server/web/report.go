package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"kith/server/report"
)

// reportsAtOnce is how many reports are listed at once.
const reportsAtOnce = 100

// Reports is what kith report list shows.
type Reports struct {
	Reports []report.Report `json:"reports"` // the newest first
	More    bool            `json:"more"`    // there are older ones
}

// DropReports deletes reports.
type DropReports struct {
	IDs []int64 `json:"ids"`
}

func (d DropReports) check() error {
	if len(d.IDs) == 0 || len(d.IDs) > 1000 {
		return errors.New("name between 1 and 1000 reports by their numbers")
	}
	return nil
}

func (s *Server) reportRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /reports", s.listReports)
	mux.HandleFunc("POST /report/delete", s.dropReports)
}

func (s *Server) listReports(w http.ResponseWriter, r *http.Request) {
	host, before := r.URL.Query().Get("host"), int64(0)
	if host != "" && s.Router.Host(host) == nil {
		refuse(w, http.StatusNotFound, fmt.Sprintf("list reports: %s is %v; it serves %s", host, errNoHost, strings.Join(s.hosts(), ", ")))
		return
	}
	if text := r.URL.Query().Get("before"); text != "" {
		var err error
		if before, err = strconv.ParseInt(text, 10, 64); err != nil || before < 0 {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("list reports: %q is no number of a report", text))
			return
		}
	}
	list, err := report.List(r.Context(), s.DB, host, before, reportsAtOnce+1)
	if err != nil {
		s.Log.Error("reports not listed", "error", err)
		refuse(w, http.StatusServiceUnavailable, "list reports: the database does not answer; the log says why")
		return
	}
	answer := Reports{Reports: append([]report.Report{}, list[:min(len(list), reportsAtOnce)]...), More: len(list) > reportsAtOnce}
	reply(w, answer)
}

func (s *Server) dropReports(w http.ResponseWriter, r *http.Request) {
	c, ok := command[DropReports](w, r, "delete reports")
	if !ok {
		return
	}
	// What was begun is finished, also when nobody waits for the answer any more.
	done, err := report.Delete(context.WithoutCancel(r.Context()), s.DB, "", c.IDs...)
	switch {
	case err != nil:
		s.Log.Error("reports not deleted", "error", err)
		refuse(w, http.StatusServiceUnavailable, "delete reports: the database does not answer; the log says why")
	case len(done) == 0:
		refuse(w, http.StatusNotFound, "delete reports: there is none of these numbers; kith report list shows which there are")
	default:
		reply(w, DropReports{done})
	}
}
