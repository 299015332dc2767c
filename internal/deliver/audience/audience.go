// Package audience counts the viewers of streams by the sessions in their requests.
package audience
