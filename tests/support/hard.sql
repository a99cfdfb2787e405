\restrict kEy1
/* a file; with /* nested; */ comments */ -- and; more
CREATE TABLE seen (n int GENERATED ALWAYS AS IDENTITY, "t;""e" text, e text);
CREATE TABLE a$b (a$c int, "select ;" text[], j jsonb); ;;
INSERT INTO seen ("t;""e", e) VALUES ('a;''b', E'c\';\\'), (U&'d\0061;', N'e\'), ($$f;$a$ 'g$$, $é$;$$;$b$;$é$);
INSERT INTO seen (e) VALUES ('h'  -- ' ;
  'i;'); INSERT INTO seen (e) SELECT 4/*;*/* 2 - 3--;
-1; INSERT INTO seen (e)VALUES('1'::"char")-- ;
;INSERT INTO seen (e) SELECT (ARRAY['x', 'y', 'z'])[2:3]::text || B'1'::text
WHERE 1 <> 2;
CREATE RULE r AS ON DELETE TO seen DO ALSO (INSERT INTO a$b VALUES (1); INSERT INTO a$b VALUES ((2)););
DELETE FROM seen WHERE n = 1;
CREATE FUNCTION plain(begin int) RETURNS int LANGUAGE plpgsql AS $fn$
BEGIN
  IF begin = 1 THEN RETURN 1; END IF; -- $$
  RETURN CASE WHEN begin = 2 THEN 2 ELSE 3 END;
END $fn$;
CREATE OR REPLACE FUNCTION atomic(a int) RETURNS int
BEGIN/* ; */ATOMIC
  INSERT INTO seen (e) VALUES (CASE WHEN a = 1 THEN 'one;' ELSE CASE a WHEN 2 THEN 'two' END END);
  SELECT CASE WHEN a = 1 THEN (SELECT 2) ELSE 3 END;
END;
CREATE PROCEDURE p() BEGIN ATOMIC END;
SELECT atomic(1), plain(2); CALL p();
DO $$BEGIN PERFORM atomic(2); END$$;
COPY seen ("t;""e", e) FROM stdin; -- the data come next
a	b;c
'	$$
\\.	\N
--	/*
\.
COPY a$b (a$c) FROM STDIN WITH (FORMAT csv, HEADER);
"a$c"
7
\.
PREPARE q AS SELECT $1::int + $2; EXECUTE q (1, 2);
UPDATE a$b SET "select ;"[1:2] = ARRAY['x;', 'y'], j = '{"a:b": ";"}' WHERE a$c BETWEEN 1 AND 100
;COMMENT ON TABLE seen IS 'ünïcödé; 🐘'; COMMENT ON COLUMN a$b."select ;" IS E'\u00e9\';'; SELECT 1;
\unrestrict kEy1
-- the last one has no semicolon
SELECT 2
