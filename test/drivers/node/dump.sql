-- A small dump, as a driver's own import reads it.
/*!40101 SET @saved_mode = @@sql_mode, sql_mode = 'NO_AUTO_VALUE_ON_ZERO' */;
DROP TABLE IF EXISTS `imported`;
CREATE TABLE `imported` (`id` int NOT NULL AUTO_INCREMENT, `name` varchar(40) DEFAULT 'a;b', PRIMARY KEY (`id`));
INSERT INTO `imported` VALUES (0, 'zero'), (5, 'it''s; five'), (6, NULL);
/*!40101 SET sql_mode = @saved_mode */;
